#include "dispatch/replica_set.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::dispatch {

namespace {

using Kind = ReplicaOrder::Kind;

constexpr std::size_t kStartsRemembered = 16;
constexpr f64 kColdQuantile = 0.9;
constexpr i64 kDoublingsMax = 20;

}  // namespace

std::string_view replica_state_name(ReplicaState state) {
  switch (state) {
    case ReplicaState::kOff: return "off";
    case ReplicaState::kStarting: return "starting";
    case ReplicaState::kWarm: return "warm";
    case ReplicaState::kReady: return "ready";
    case ReplicaState::kDraining: return "draining";
    case ReplicaState::kEnding: return "ending";
  }
  return "off";
}

ReplicaSet::ReplicaSet(const ScaleSettings& scale, const ReplicaSettings& settings, i64 slots)
    : scaler_(scale) {
  set_settings(scale, settings, slots);
}

void ReplicaSet::set_settings(const ScaleSettings& scale, const ReplicaSettings& settings,
                              i64 slots) {
  TG_ASSERT(settings.warm >= 0 && settings.starting_max > 0 && slots >= 0);
  TG_ASSERT(settings.retry_ns > 0 && settings.retry_ns <= settings.retry_ns_max);
  settings_ = settings;
  stated_cold_start_ns_ = scale.cold_start_ns;
  std::size_t count = static_cast<std::size_t>(slots);
  if (replicas_.size() < count) replicas_.resize(count);
  ScaleSettings measured = scale;
  measured.cold_start_ns = cold_start_ns();
  scaler_.set_settings(measured);
}

void ReplicaSet::begin_with(u32 slot, ReplicaState state) {
  TG_ASSERT(slot < replicas_.size() && replicas_[slot].state == ReplicaState::kOff);
  replicas_[slot].state = state;
  if (state == ReplicaState::kReady) ++desired_;
}

ReplicaCounts ReplicaSet::counts() const {
  ReplicaCounts c;
  for (const Replica& replica : replicas_) {
    switch (replica.state) {
      case ReplicaState::kOff: break;
      case ReplicaState::kStarting: ++c.starting; break;
      case ReplicaState::kWarm: ++c.warm; break;
      case ReplicaState::kReady: ++c.ready; break;
      case ReplicaState::kDraining: ++c.draining; break;
      case ReplicaState::kEnding: ++c.ending; break;
    }
  }
  return c;
}

i64 ReplicaSet::cold_start_ns() const {
  if (starts_ns_.empty()) return stated_cold_start_ns_;
  std::vector<i64> sorted = starts_ns_;
  std::sort(sorted.begin(), sorted.end());
  f64 rank = std::ceil(kColdQuantile * static_cast<f64>(sorted.size())) - 1;
  return sorted[static_cast<std::size_t>(std::max(0.0, rank))];
}

void ReplicaSet::set(u32 slot, ReplicaState state, i64 now_ns) {
  Replica& replica = replicas_[slot];
  replica.state = state;
  replica.since_ns = now_ns;
  replica.is_empty = false;
}

void ReplicaSet::order(Kind kind, u32 slot, std::vector<ReplicaOrder>& orders) {
  orders.push_back({kind, slot});
}

void ReplicaSet::fail(Replica& replica, i64 now_ns, std::string why) {
  replica.last_error = std::move(why);
  ++failures_;
  failed_ns_ = now_ns;
  i64 doublings = std::min(failures_in_a_row_++, kDoublingsMax);
  i64 wait_ns = std::min(settings_.retry_ns_max, settings_.retry_ns << doublings);
  retry_at_ns_ = std::max(retry_at_ns_, now_ns + wait_ns);
}

ScaleDecision ReplicaSet::step(f64 backlog, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  give_up_late(now_ns, orders);
  forgive(now_ns);
  ReplicaCounts c = counts();
  ScaleDecision decision =
      scaler_.decide({.ready = c.ready, .starting = c.starting, .backlog = backlog}, now_ns);
  desired_ = decision.desired;
  if (c.ready < desired_) use_more(desired_ - c.ready, now_ns, orders);
  if (c.ready > desired_) drain(c.ready - desired_, now_ns, orders);
  i64 wanted = desired_ + settings_.warm;
  park_empty(wanted, now_ns, orders);
  c = counts();
  i64 alive = c.ready + c.starting + c.warm;
  if (alive < wanted) start(wanted - alive, now_ns, orders);
  if (alive > wanted) end_warm(alive - wanted, now_ns, orders);
  return decision;
}

// One that was started after the last failure has settled: whatever it was is over.
void ReplicaSet::forgive(i64 now_ns) {
  if (failures_in_a_row_ == 0) return;
  for (const Replica& replica : replicas_) {
    bool is_here = replica.state == ReplicaState::kReady || replica.state == ReplicaState::kWarm;
    bool is_settled =
        replica.started_ns > failed_ns_ && now_ns - replica.started_ns > settings_.settled_ns;
    if (is_here && is_settled) failures_in_a_row_ = 0;
  }
}

void ReplicaSet::give_up_late(i64 now_ns, std::vector<ReplicaOrder>& orders) {
  for (u32 i = 0; i < replicas_.size(); ++i) {
    Replica& replica = replicas_[i];
    bool is_late = replica.state == ReplicaState::kStarting &&
                   now_ns - replica.since_ns > settings_.start_ns_max;
    if (!is_late) continue;
    fail(replica, now_ns, "did not start in time");
    set(i, ReplicaState::kEnding, now_ns);
    order(Kind::kEnd, i, orders);
  }
}

// Those that were being emptied have everything in their caches; then those that wait, loaded.
void ReplicaSet::use_more(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  for (ReplicaState from : {ReplicaState::kDraining, ReplicaState::kWarm}) {
    for (u32 i = 0; i < replicas_.size() && count > 0; ++i) {
      if (replicas_[i].state != from) continue;
      set(i, ReplicaState::kReady, now_ns);
      order(Kind::kUse, i, orders);
      --count;
    }
  }
}

// The last slots first, so that those that stay are always the same.
void ReplicaSet::drain(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  for (u32 i = static_cast<u32>(replicas_.size()); i-- > 0 && count > 0;) {
    if (replicas_[i].state != ReplicaState::kReady) continue;
    set(i, ReplicaState::kDraining, now_ns);
    order(Kind::kDrain, i, orders);
    --count;
  }
}

// An emptied one stays loaded where a warm one is missing.
void ReplicaSet::park_empty(i64 wanted, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  ReplicaCounts c = counts();
  i64 alive = c.ready + c.starting + c.warm;
  for (u32 i = 0; i < replicas_.size(); ++i) {
    if (replicas_[i].state != ReplicaState::kDraining || !replicas_[i].is_empty) continue;
    bool stays = alive < wanted;
    set(i, stays ? ReplicaState::kWarm : ReplicaState::kEnding, now_ns);
    if (stays) ++alive;
    if (!stays) order(Kind::kEnd, i, orders);
  }
}

void ReplicaSet::start(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  if (now_ns < retry_at_ns_) return;
  count = std::min(count, settings_.starting_max - counts().starting);
  for (u32 i = 0; i < replicas_.size() && count > 0; ++i) {
    if (replicas_[i].state != ReplicaState::kOff) continue;
    set(i, ReplicaState::kStarting, now_ns);
    replicas_[i].started_ns = now_ns;
    ++replicas_[i].starts;
    order(Kind::kStart, i, orders);
    --count;
  }
}

void ReplicaSet::end_warm(i64 count, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  for (u32 i = static_cast<u32>(replicas_.size()); i-- > 0 && count > 0;) {
    if (replicas_[i].state != ReplicaState::kWarm) continue;
    set(i, ReplicaState::kEnding, now_ns);
    order(Kind::kEnd, i, orders);
    --count;
  }
}

void ReplicaSet::started(u32 slot, i64 now_ns, std::vector<ReplicaOrder>& orders) {
  TG_ASSERT(slot < replicas_.size());
  // It was given up meanwhile.
  if (replicas_[slot].state != ReplicaState::kStarting) return;
  starts_ns_.push_back(now_ns - replicas_[slot].started_ns);
  if (starts_ns_.size() > kStartsRemembered) starts_ns_.erase(starts_ns_.begin());
  ScaleSettings measured = scaler_.settings();
  measured.cold_start_ns = cold_start_ns();
  scaler_.set_settings(measured);
  bool is_wanted = counts().ready < desired_;
  set(slot, is_wanted ? ReplicaState::kReady : ReplicaState::kWarm, now_ns);
  if (is_wanted) order(Kind::kUse, slot, orders);
}

void ReplicaSet::emptied(u32 slot) {
  TG_ASSERT(slot < replicas_.size());
  if (replicas_[slot].state == ReplicaState::kDraining) replicas_[slot].is_empty = true;
}

void ReplicaSet::ended(u32 slot, i64 now_ns, std::string why) {
  TG_ASSERT(slot < replicas_.size());
  Replica& replica = replicas_[slot];
  bool was_asked = replica.state == ReplicaState::kEnding || replica.state == ReplicaState::kOff;
  bool is_young = replica.state == ReplicaState::kStarting ||
                  now_ns - replica.started_ns < settings_.settled_ns;
  if (!was_asked && is_young) {
    fail(replica, now_ns, std::move(why));
  } else if (!was_asked) {
    // One that had served is missed at once.
    replica.last_error = std::move(why);
    ++failures_;
  }
  set(slot, ReplicaState::kOff, now_ns);
}

}  // namespace tg::dispatch
