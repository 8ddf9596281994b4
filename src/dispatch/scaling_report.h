// What an autoscaler decided and why, for people, for Kubernetes (the JSON of KEDA's metrics API,
// target 1 per replica) and as Prometheus text, whose labels are the pool's name alone.
#pragma once

#include <string>
#include <vector>

#include "dispatch/replica_set.h"

namespace tg::dispatch {

struct ScalingReport {
  struct Replica {
    std::string name;
    ReplicaState state = ReplicaState::kOff;
    i64 process = 0;      // its id; 0: none of this machine's
    std::string address;  // "": not known
    i64 open = 0;         // requests
    f64 seconds = 0;      // in this state
    u64 starts = 0;
    std::string last_error;
  };

  std::string pool;
  bool launches = false;  // here; otherwise somebody reads the figure and does
  ScaleDecision decision;
  ReplicaCounts counts;
  ReplicaPace pace;
  i64 replicas_min = 0;
  i64 replicas_max = 0;
  i64 warm = 0;
  f64 cold_start_s = 0;
  bool is_cold_start_measured = false;
  i64 requests_waiting = 0;
  f64 backlog = 0;   // their work, in replica seconds
  u64 arrivals = 0;  // requests so far
  u64 failures = 0;
  f64 retry_s = 0;  // until the next start may be tried
  std::vector<Replica> replicas;
};

// One sentence: why there should be so many.
std::string reason_of(const ScalingReport& report);
std::string to_json(const ScalingReport& report);
std::string to_prometheus(const ScalingReport& report);

}  // namespace tg::dispatch
