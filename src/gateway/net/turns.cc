#include "gateway/net/turns.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace tg::gateway {

Turn::~Turn() {
  end_use();
  if (turns_ == nullptr || !is_granted_ || actual_ < 0) return;
  turns_->queue_.charge(tenant_, actual_ - cost_);
}

void Turn::end_use() {
  if (std::exchange(is_in_use_, false)) turns_->leave(*this);
}

void Turns::enter(Turn& turn, const FairTenant& tenant, i64 cost, i64 slots,
                  asio::steady_timer* signal) {
  TG_ASSERT(turn.turns_ == nullptr && slots > 0);
  turn.turns_ = this;
  turn.is_in_use_ = true;
  turn.id_ = id_next_++;
  turn.tenant_ = tenant;
  turn.cost_ = cost;
  // What needs more than there is waits until it is alone.
  turn.slots_ = slots_max_ == 0 ? slots : std::min(slots, slots_max_);
  turn.signal_ = signal;
  // Where nobody waits the queue would hand it out again at once, and be as it was.
  bool is_free = slots_max_ == 0 || open_ + turn.slots_ <= slots_max_;
  if (queue_.empty() && next_ == nullptr && is_free) {
    open_ += turn.slots_;
    turn.is_granted_ = true;
    return;
  }
  waiting_.emplace(turn.id_, &turn);
  queue_.push(turn.id_, tenant, cost);
  grant_next();
}

void Turns::grant_next() {
  for (;;) {
    if (next_ == nullptr) {
      if (slots_max_ > 0 && open_ >= slots_max_) return;
      std::optional<u64> id = queue_.pop();
      if (!id) return;
      next_ = waiting_.at(*id);
    }
    if (slots_max_ > 0 && open_ + next_->slots_ > slots_max_) return;
    Turn& turn = *std::exchange(next_, nullptr);
    waiting_.erase(turn.id_);
    open_ += turn.slots_;
    turn.is_granted_ = true;
    turn.signal_->cancel();
  }
}

void Turns::leave(Turn& turn) {
  if (turn.is_granted_) {
    open_ -= turn.slots_;
    TG_ASSERT(open_ >= 0);
  } else {
    waiting_.erase(turn.id_);
    if (next_ == &turn) {
      next_ = nullptr;
    } else {
      queue_.erase(turn.id_);
    }
  }
  grant_next();
}

}  // namespace tg::gateway
