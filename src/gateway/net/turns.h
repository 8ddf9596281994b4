// Where completion requests wait for a model's capacity: at most `slots_max` runs are with its
// supplier, the others wait here in fair order (access/fair_queue.h) and are bound to a slot only
// when one is free. No money is held meanwhile.
#pragma once

#include "gateway/access/fair_queue.h"
#include "gateway/net/asio.h"

namespace tg::gateway {

class Turns;

// What an exchange has of its model's capacity; gives back what it has when destroyed.
class Turn {
 public:
  Turn() = default;
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool is_granted() const { return is_granted_; }
  // The supplier has said its last word about all of it, or it waits no more. Later calls do
  // nothing.
  void end_use();
  // What it took, in the unit of the cost that it was queued with: its tenant is charged the
  // difference when the turn is destroyed.
  void set_actual(i64 cost) { actual_ = cost; }

 private:
  friend class Turns;
  Turns* turns_ = nullptr;  // Where it is until its end.
  bool is_in_use_ = false;  // It waits or has slots.
  u64 id_ = 0;
  FairTenant tenant_;
  i64 cost_ = 0;
  i64 actual_ = -1;  // Below 0: not known.
  i64 slots_ = 0;
  bool is_granted_ = false;
  asio::steady_timer* signal_ = nullptr;  // Cancelled when it is granted.
};

// Of one model.
class Turns {
 public:
  // 0: no limit, everyone's turn comes at once.
  explicit Turns(i64 slots_max) : slots_max_(slots_max) {}

  // REQUIRES: cost > 0, slots > 0; the turn is new and stays where it is until its end.
  void enter(Turn& turn, const FairTenant& tenant, i64 cost, i64 slots, asio::steady_timer* signal);
  i64 waiting() const { return static_cast<i64>(queue_.size()); }
  i64 open() const { return open_; }

 private:
  friend class Turn;
  void leave(Turn& turn);
  void grant_next();

  i64 slots_max_;
  i64 open_ = 0;
  u64 id_next_ = 1;
  FairQueue queue_;
  std::unordered_map<u64, Turn*> waiting_;
  Turn* next_ = nullptr;  // Out of the queue, for lack of slots for all of it.
};

}  // namespace tg::gateway
