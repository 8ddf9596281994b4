// Keeps as many replicas in a pool as its traffic wants: reads what arrived and what waits, turns
// tokens into replica seconds by step times as measured, lets the decision code of replica_set.h
// decide (the same as in sim/), and does as it says through a launcher. Without one it says how
// many there should be and leaves the rest to whoever reads that. Its caller's thread turns it.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "dispatch/pool.h"
#include "dispatch/replica_set.h"
#include "dispatch/scaling_report.h"
#include "fleet/launcher.h"

namespace tg::dispatch {

struct ScalerOptions {
  std::string pool;  // its name in what is reported
  ScaleSettings scale;
  ReplicaSettings replicas;
  PoolSupplier facts;               // of each replica but for its name; its steps to begin with
  i64 requests_at_once = 0;         // planned for a replica; 0: as many as keep the target
  i64 tpot_target_ns = 0;           // > 0
  i64 hung_ns_max = 5'000'000'000;  // one that cannot be reached for so long is ended
  std::set<std::string> fixed;      // members that are no replicas
};

// Of the replica in a slot.
std::string replica_name(u32 slot);

class PoolScaler {
 public:
  // Both outlive it. Requests for which nobody is there wait from now on, as long as the pool's
  // settings let them.
  PoolScaler(ScalerOptions options, Pool& pool, fleet::Launcher* launcher, Clock& clock);

  // Scale and replica settings from now on; the rest stays. Any thread.
  void set_settings(const ScaleSettings& scale, const ReplicaSettings& replicas);
  // Looks and acts. Some ten times a second.
  void turn();

 private:
  struct Slot {
    std::shared_ptr<fleet::Supplier> supplier;  // while it runs
    i64 reached_ns = 0;                         // when it was last seen to be up
  };

  i64 slots() const;
  void take_events(i64 now_ns);
  void watch(const PoolStatus& status, i64 now_ns);
  void learn_pace(const PoolStatus& status);
  void count_arrivals(const PoolStatus& status, i64 now_ns);
  f64 backlog_of(const PoolStatus& status) const;
  void carry_out(i64 now_ns);
  void launch(u32 slot, i64 now_ns);
  void use(u32 slot);
  bool is_replica(const std::string& name) const;
  ScalingReport report_of(const PoolStatus& status, const ScaleDecision& decision,
                          i64 now_ns) const;

  std::mutex mutex_;
  ScalerOptions options_;
  Pool& pool_;
  fleet::Launcher* const launcher_;
  Clock& clock_;
  ReplicaSet set_;
  std::vector<Slot> slots_;
  ReplicaPace pace_;
  Arrivals seen_;
  f64 output_tokens_mean_ = 0;  // that a request is expected to have
  bool has_started_ = false;
  std::vector<ReplicaOrder> orders_;  // scratch
};

}  // namespace tg::dispatch
