// How many replicas there should be: from the work that arrives and the work that waits, never from
// utilisation, which saturates and says nothing of how much more is wanted. A long window for calm,
// a short one for panic (as Knative's), a forecast as far ahead as a start takes, and no more for a
// backlog than drains it in time. Pure: time is an argument.
#pragma once

#include <array>
#include <string>

#include "base/types.h"

namespace tg::dispatch {

struct ScaleSettings {
  f64 work_per_replica_s = 1;          // that one replica does within its latency target, measured
  f64 utilisation = 0.8;               // of it that is planned with
  f64 panic_ratio = 2;                 // short over long window, from which it is a panic
  i64 panic_window_s = 3;              // <= kWindowSeconds
  i64 drain_ns = 10'000'000'000;       // in which a backlog should be gone
  i64 cold_start_ns = 60'000'000'000;  // measured, p90: how far ahead must be seen
  i64 idle_ns = 300'000'000'000;       // without work, after which replicas_min may be 0
  i64 replicas_min = 0;
  i64 replicas_max = 1'000;
  f64 backlog_share_max = 1;  // replicas for the backlog, at most this part of those for arrivals
};

struct ScaleState {
  i64 ready = 0;
  i64 starting = 0;
  f64 backlog = 0;  // work admitted and not begun
};

struct ScaleDecision {
  i64 desired = 0;  // ready and starting together
  bool is_panic = false;
  f64 arriving_s = 0;  // work per second, as forecast
  i64 for_arrivals = 0;
  i64 for_backlog = 0;
};

class Autoscaler {
 public:
  static constexpr i64 kWindowSeconds = 60;

  explicit Autoscaler(const ScaleSettings& settings);

  // Work that came; times never run backwards.
  void arrived(f64 work, i64 now_ns);
  ScaleDecision decide(const ScaleState& state, i64 now_ns);

 private:
  void advance(i64 second);
  f64 rate(i64 second, i64 seconds, i64 ago) const;

  ScaleSettings settings_;
  std::array<f64, kWindowSeconds + 1> buckets_{};  // by second, the current one incomplete
  i64 second_ = 0;
  i64 first_second_ = -1;
  i64 panic_until_ns_ = 0;
  i64 panic_desired_ = 0;
  i64 last_work_ns_ = -1;
};

// The decision as an external metric that a Kubernetes autoscaler reads (the JSON of KEDA's
// metrics API, target 1 per replica) and as Prometheus text.
std::string to_metrics_json(const std::string& pool, const ScaleDecision& decision);
std::string to_prometheus(const std::string& pool, const ScaleDecision& decision,
                          const ScaleState& state);

}  // namespace tg::dispatch
