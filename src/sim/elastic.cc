// Replicas that come and go in a simulated pool. The decision is dispatch's; here it takes time to
// come true.
#include <algorithm>

#include "sim/world.h"

namespace tg::sim {

using dispatch::Health;

void World::begin_elastic() {
  const Elasticity& e = scenario_.elasticity;
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    if (static_cast<i64>(i) < e.replicas) {
      ++ready_;
      continue;
    }
    suppliers_[i].is_off = true;
    router_.set_health(i, Health::kDown, now_ns_);
  }
  warm_ = e.warm;
  ready_most_ = ready_;
  post(e.tick_ns, Kind::kScale, 0, 0);
}

void World::scale() {
  const Elasticity& e = scenario_.elasticity;
  replica_ns_ += static_cast<f64>((ready_ + starting_ + warm_) * (now_ns_ - scaled_ns_));
  scaled_ns_ = now_ns_;
  if (next_ < trace_.requests.size() || open_ > 0) post(now_ns_ + e.tick_ns, Kind::kScale, 0, 0);
  // Replicas that were told to drain are off once they are empty.
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    if (suppliers_[i].is_off || router_.standing(i).stated() != Health::kDraining) continue;
    if (router_.in_flight().open(i) > 0) continue;
    suppliers_[i].is_off = true;
    router_.set_health(i, Health::kDown, now_ns_);
    router_.restarted(i);
  }
  if (warm_ < e.warm && now_ns_ >= warm_loading_until_ns_) warm_ = e.warm;
  dispatch::ScaleDecision d = scaler_.decide(
      {.ready = ready_, .starting = starting_, .backlog = static_cast<f64>(router_.waiting())},
      now_ns_);
  i64 have = ready_ + starting_;
  if (d.desired > have) start_replicas(d.desired - have);
  if (d.desired < ready_ && starting_ == 0) stop_replicas(ready_ - d.desired);
}

void World::start_replicas(i64 count) {
  const Elasticity& e = scenario_.elasticity;
  i64 loaded = ready_ + warm_;  // peers that have the weights
  i64 cold = 0;
  for (u32 i = 0; i < suppliers_.size() && count > 0; ++i) {
    Supplier& s = suppliers_[i];
    if (!s.is_off || s.is_starting) continue;
    --count;
    s.is_starting = true;
    ++starting_;
    i64 wait_ns = e.cold_start_ns;
    if (warm_ > 0) {
      --warm_;
      warm_loading_until_ns_ = now_ns_ + e.cold_start_ns;
      wait_ns = e.warm_start_ns;
    } else if (e.hop_ns > 0 && loaded > 0) {
      // The first `loaded` are served in one hop, twice as many in the next one, and so on.
      i64 hops = 1;
      for (i64 reached = loaded; reached <= cold; reached += reached + loaded) ++hops;
      ++cold;
      wait_ns = std::min(wait_ns, e.warm_start_ns + hops * e.hop_ns);
    }
    post(now_ns_ + wait_ns, Kind::kReady, i, 0);
  }
}

void World::make_ready(u32 supplier) {
  Supplier& s = suppliers_[supplier];
  s.is_off = false;
  s.is_starting = false;
  --starting_;
  ++ready_;
  if (ready_ > ready_most_) {
    ready_most_ = ready_;
    ready_most_ns_ = now_ns_;
  }
  s.heard_ns = now_ns_;
  router_.set_health(supplier, Health::kUp, now_ns_);
  post(now_ns_ + scenario_.report_interval_ns, Kind::kReport, supplier, 0);
  pump();
}

void World::stop_replicas(i64 count) {
  for (u32 i = static_cast<u32>(suppliers_.size()); i-- > 0 && count > 0;) {
    if (suppliers_[i].is_off || router_.standing(i).stated() != Health::kUp) continue;
    router_.set_health(i, Health::kDraining, now_ns_);
    --ready_;
    --count;
  }
}

}  // namespace tg::sim
