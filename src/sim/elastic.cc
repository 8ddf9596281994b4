// Replicas that come and go in a simulated pool. What is decided is dispatch's, as in a live one;
// here it takes time to come true.
#include <algorithm>

#include "sim/world.h"

namespace tg::sim {

using dispatch::Health;
using dispatch::ReplicaOrder;
using dispatch::ReplicaState;

void World::begin_elastic() {
  const Elasticity& e = scenario_.elasticity;
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    i64 number = static_cast<i64>(i);
    if (number < e.replicas) {
      replicas_.begin_with(i, ReplicaState::kReady);
      continue;
    }
    if (number < e.replicas + e.warm) replicas_.begin_with(i, ReplicaState::kWarm);
    suppliers_[i].is_off = true;
    router_.set_health(i, Health::kDown, now_ns_);
  }
  ready_most_ = replicas_.counts().ready;
  post(e.tick_ns, Kind::kScale, 0, 0);
}

void World::scale() {
  const Elasticity& e = scenario_.elasticity;
  dispatch::ReplicaCounts c = replicas_.counts();
  replica_ns_ += static_cast<f64>((c.ready + c.starting + c.warm) * (now_ns_ - scaled_ns_));
  scaled_ns_ = now_ns_;
  if (next_ < trace_.requests.size() || open_ > 0) post(now_ns_ + e.tick_ns, Kind::kScale, 0, 0);
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    bool is_empty = replicas_.replicas()[i].state == ReplicaState::kDraining &&
                    router_.in_flight().open(i) == 0;
    if (is_empty) replicas_.emptied(i);
  }
  orders_.clear();
  replicas_.step(static_cast<f64>(router_.waiting()), now_ns_, orders_);
  carry_out(c.ready + c.warm);
}

// `loaded`: peers that had the weights when this was decided.
void World::carry_out(i64 loaded) {
  i64 cold = 0;
  for (const ReplicaOrder& order : orders_) {
    switch (order.kind) {
      case ReplicaOrder::Kind::kStart:
        post(now_ns_ + start_ns(loaded, cold++), Kind::kStarted, order.slot, 0);
        break;
      case ReplicaOrder::Kind::kUse: {
        // One that drained still serves; a warm one takes a moment to be taken in.
        bool is_in = !suppliers_[order.slot].is_off;
        i64 wait_ns = is_in ? 0 : scenario_.elasticity.warm_start_ns;
        post(now_ns_ + wait_ns, Kind::kReady, order.slot, 0);
        break;
      }
      case ReplicaOrder::Kind::kDrain:
        if (!suppliers_[order.slot].is_off)
          router_.set_health(order.slot, Health::kDraining, now_ns_);
        break;
      case ReplicaOrder::Kind::kEnd: end_replica(order.slot); break;
    }
  }
}

// Until it is loaded; taking it in comes after that.
i64 World::start_ns(i64 loaded, i64 before) const {
  const Elasticity& e = scenario_.elasticity;
  i64 wait_ns = e.cold_start_ns;
  if (e.hop_ns > 0 && loaded > 0) {
    // The first `loaded` are served in one hop, twice as many in the next one, and so on.
    i64 hops = 1;
    for (i64 reached = loaded; reached <= before; reached += reached + loaded) ++hops;
    wait_ns = std::min(wait_ns, e.warm_start_ns + hops * e.hop_ns);
  }
  return std::max<i64>(0, wait_ns - e.warm_start_ns);
}

void World::end_replica(u32 supplier) {
  suppliers_[supplier].is_off = true;
  router_.set_health(supplier, Health::kDown, now_ns_);
  router_.restarted(supplier);
  replicas_.ended(supplier, now_ns_, "");
}

void World::replica_started(u32 supplier) {
  orders_.clear();
  replicas_.started(supplier, now_ns_, orders_);
  carry_out(0);
}

void World::make_ready(u32 supplier) {
  // It was told to drain, or to end, before it had been taken in.
  if (replicas_.replicas()[supplier].state != ReplicaState::kReady) return;
  Supplier& s = suppliers_[supplier];
  s.is_off = false;
  i64 ready = replicas_.counts().ready;
  if (ready > ready_most_) {
    ready_most_ = ready;
    ready_most_ns_ = now_ns_;
  }
  s.heard_ns = now_ns_;
  router_.set_health(supplier, Health::kUp, now_ns_);
  pump();
}

}  // namespace tg::sim
