#include "dispatch/autoscale.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::dispatch {

namespace {

constexpr i64 kSecondNs = 1'000'000'000;
// A slope is believed up to this part of what arrives now: a step is not a ramp.
constexpr f64 kSlopeMost = 0.5;

}  // namespace

Autoscaler::Autoscaler(const ScaleSettings& settings) {
  set_settings(settings);
}

void Autoscaler::set_settings(const ScaleSettings& settings) {
  TG_ASSERT(settings.work_per_replica_s > 0);
  TG_ASSERT(settings.utilisation > 0);
  TG_ASSERT(settings.window_s <= kWindowSecondsMax);
  TG_ASSERT(settings.panic_window_s > 0 && 2 * settings.panic_window_s <= settings.window_s);
  TG_ASSERT(settings.replicas_min <= settings.replicas_max);
  settings_ = settings;
}

void Autoscaler::advance(i64 second) {
  if (first_second_ < 0) {
    first_second_ = second;
    second_ = second;
  }
  i64 size = static_cast<i64>(buckets_.size());
  i64 steps = std::min(second - second_, size);
  for (i64 i = 1; i <= steps; ++i) {
    buckets_[static_cast<std::size_t>((second - steps + i) % size)] = 0;
  }
  second_ = std::max(second_, second);
}

void Autoscaler::arrived(f64 work, i64 now_ns) {
  advance(now_ns / kSecondNs);
  buckets_[static_cast<std::size_t>(second_ % static_cast<i64>(buckets_.size()))] += work;
  last_work_ns_ = now_ns;
}

// Work per second over `seconds` whole seconds that ended `ago` seconds before the current one.
f64 Autoscaler::rate(i64 second, i64 seconds, i64 ago) const {
  f64 sum = 0;
  i64 counted = 0;
  for (i64 i = 1 + ago; i <= seconds + ago && second - i >= first_second_; ++i) {
    sum += buckets_[static_cast<std::size_t>((second - i) % static_cast<i64>(buckets_.size()))];
    ++counted;
  }
  return counted == 0 ? 0 : sum / static_cast<f64>(counted);
}

ScaleDecision Autoscaler::decide(const ScaleState& state, i64 now_ns) {
  advance(now_ns / kSecondNs);
  ScaleDecision d;
  f64 stable = rate(second_, settings_.window_s, 0);
  f64 recent = rate(second_, settings_.panic_window_s, 0);
  f64 before = rate(second_, settings_.panic_window_s, settings_.panic_window_s);
  f64 per_replica = settings_.work_per_replica_s * settings_.utilisation;
  // What starts now is ready a cold start later: a rising load is followed that far ahead.
  f64 slope = (recent - before) / static_cast<f64>(settings_.panic_window_s);
  f64 horizon_s = static_cast<f64>(settings_.cold_start_ns) / kSecondNs;
  f64 rise = std::clamp(slope * horizon_s, 0.0, kSlopeMost * recent);
  // The newest whole second alone shows a burst before its window is full.
  f64 newest = rate(second_, 1, 0);
  f64 current = std::max(recent, newest);
  bool is_burst = current > settings_.panic_ratio * stable;
  if (is_burst || (current > 0 && stable == 0)) {
    panic_until_ns_ = now_ns + settings_.window_s * kSecondNs;
  }
  d.is_panic = now_ns < panic_until_ns_;
  d.long_s = stable;
  d.short_s = current;
  d.arriving_s = d.is_panic ? std::max(stable, current + (is_burst ? 0 : rise))
                            : std::max(stable, recent + rise);
  d.for_arrivals = static_cast<i64>(std::ceil(d.arriving_s / per_replica));
  // Those for arrivals have what utilisation leaves to drain a backlog with; the rest is asked for.
  f64 drain_s = static_cast<f64>(settings_.drain_ns) / kSecondNs;
  f64 spare = static_cast<f64>(d.for_arrivals) * settings_.work_per_replica_s - d.arriving_s;
  f64 wanted = (state.backlog / drain_s - spare) / settings_.work_per_replica_s;
  i64 most = std::max<i64>(
      1, static_cast<i64>(settings_.backlog_share_max * static_cast<f64>(d.for_arrivals)));
  d.for_backlog = std::clamp<i64>(static_cast<i64>(std::ceil(wanted)), 0, most);
  i64 floor = settings_.replicas_min;
  bool is_idle = last_work_ns_ < 0 || now_ns - last_work_ns_ > settings_.idle_ns;
  if (!is_idle || state.backlog > 0) floor = std::max<i64>(floor, last_work_ns_ < 0 ? 0 : 1);
  d.desired = std::clamp(d.for_arrivals + d.for_backlog, floor, settings_.replicas_max);
  // Nothing is taken away while it is a panic: what was asked for is still on its way.
  panic_desired_ = d.is_panic ? std::max(panic_desired_, d.desired) : 0;
  d.desired = std::max(d.desired, panic_desired_);
  return d;
}

ReplicaPace pace_of(const fleet::StepEstimate& step, i64 requests_max, i64 tpot_target_ns) {
  TG_ASSERT(requests_max > 0);
  constexpr f64 kSeconds = 1e-9;
  f64 each_ns = step.ns_per_token + step.ns_per_row;
  f64 room_ns = static_cast<f64>(tpot_target_ns) - step.ns_per_step;
  f64 most = static_cast<f64>(requests_max);
  f64 fits = each_ns > 0 ? room_ns / each_ns : most;
  f64 requests = std::floor(std::clamp(fits, 1.0, most));
  return {.prompt_s = step.ns_per_token * kSeconds,
          .output_s = (step.ns_per_step / requests + each_ns) * kSeconds,
          .requests = static_cast<i64>(requests)};
}

}  // namespace tg::dispatch
