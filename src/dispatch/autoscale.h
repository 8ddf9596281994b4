// How many replicas there should be: from the work that arrives and the work that waits, never from
// utilisation, which saturates and says nothing of how much more is wanted. A long window for calm,
// a short one for panic (as Knative's), a forecast as far ahead as a start takes, and no more for a
// backlog than drains it in time. Pure: time is an argument.
#pragma once

#include <array>

#include "base/types.h"
#include "fleet/supplier.h"

namespace tg::dispatch {

struct ScaleSettings {
  f64 work_per_replica_s = 1;          // that one replica does within its latency target, measured
  f64 utilisation = 0.8;               // of it that is planned with
  f64 panic_ratio = 2;                 // short over long window, from which it is a panic
  i64 window_s = 60;                   // the long window, and how long a panic lasts; <= 60
  i64 panic_window_s = 3;              // the short one, at most half of it
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
  f64 long_s = 0;      // ... over the long window
  f64 short_s = 0;     // ... over the short one, or in its last second if that is more
  i64 for_arrivals = 0;
  i64 for_backlog = 0;
};

class Autoscaler {
 public:
  static constexpr i64 kWindowSecondsMax = 60;

  explicit Autoscaler(const ScaleSettings& settings);
  // What has arrived so far stays known.
  void set_settings(const ScaleSettings& settings);
  const ScaleSettings& settings() const { return settings_; }

  // Work that came; times never run backwards.
  void arrived(f64 work, i64 now_ns);
  ScaleDecision decide(const ScaleState& state, i64 now_ns);

 private:
  void advance(i64 second);
  f64 rate(i64 second, i64 seconds, i64 ago) const;

  ScaleSettings settings_;
  std::array<f64, kWindowSecondsMax + 1> buckets_{};  // by second, the current one incomplete
  i64 second_ = 0;
  i64 first_second_ = -1;
  i64 panic_until_ns_ = 0;
  i64 panic_desired_ = 0;
  i64 last_work_ns_ = -1;
};

// How much of a replica's time tokens take: what turns arrivals into work, in replica seconds.
struct ReplicaPace {
  f64 prompt_s = 0;  // of its time that one prompt token takes
  f64 output_s = 0;  // ... one output token, its part of a shared step
  i64 requests = 1;  // at once, that this is planned for

  f64 work(f64 prompt_tokens, f64 output_tokens) const {
    return prompt_tokens * prompt_s + output_tokens * output_s;
  }
};
// By its step times: as many requests at once as keep the target, at least one and at most
// `requests_max` (> 0).
ReplicaPace pace_of(const fleet::StepEstimate& step, i64 requests_max, i64 tpot_target_ns);

}  // namespace tg::dispatch
