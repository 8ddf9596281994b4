// Work that a thread of its own does, unless an event loop lends its thread: whoever only stands
// between that loop and others then costs no switch of threads. The state stays one thread's at a
// time; the loop's, from borrow() on.
#pragma once

#include <vector>

#include "base/types.h"
#include "env/mailbox.h"

namespace tg {

class LentWork {
 public:
  virtual ~LentWork() = default;
  // What the loop must watch; none if somebody else has it already. The caller does turn() when
  // one is readable, soon after it has handed something over, and every kTurnEveryNs in any case,
  // until give_back().
  // `near`, which outlives the loan, is told of what the loop's own thread leaves in between.
  virtual std::vector<int> borrow(NearReader* near) = 0;
  // All there is to do now. Bit i of `readable`: descriptor i is.
  virtual void turn(u32 readable) = 0;
  // The own thread does it again. Called by whoever borrowed, after its last turn.
  virtual void give_back() = 0;

  static constexpr i64 kTurnEveryNs = 20'000'000;
  static constexpr u32 kAllReadable = ~u32{0};
};

}  // namespace tg
