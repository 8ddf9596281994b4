// Decides what a step computes, in the form of vLLM's v1 scheduler: one token budget, no phases
// (sequence.h). A function of queue, pool and limits only; it takes no time and no randomness.
#pragma once

#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/sched/sequence.h"

namespace tg::engine {

struct SchedulerLimits {
  i64 running_max = 0;
  i64 step_tokens_max = 0;  // at least running_max, so that no running sequence waits for ever
  i64 context_max = 0;      // bounds the length of a chain of cached blocks
};

// Tokens to compute, for each running sequence in the queue's order; 0: it sits this step out.
struct Plan {
  std::vector<i64> tokens;
  std::vector<PreemptEvent> preempted;
};

class Scheduler {
 public:
  // REQUIRES: 0 < running_max <= step_tokens_max.
  Scheduler(const SchedulerLimits& limits, i64 block_tokens);

  // 1. Shares out the budget: one token to each sequence that lacks one, then the rest in order.
  // 2. Finds blocks for them, oldest sequence first; when the pool is exhausted the newest running
  //    one gives all of its back.
  // 3. Unless somebody was preempted, admits waiting requests in order while budget is left and
  //    their known tokens fit with a block of growth for them and for every running sequence.
  // Work remains in the plan as long as the queue has any. The plan is valid until the next call.
  const Plan& schedule(SequenceQueue& queue, BlockPool& pool);

 private:
  i64 share_budget(const SequenceQueue& queue);
  void secure_blocks(SequenceQueue& queue, BlockPool& pool);
  void preempt_newest(SequenceQueue& queue, BlockPool& pool);
  void admit(SequenceQueue& queue, BlockPool& pool, i64 budget);
  bool try_admit(SequenceQueue& queue, BlockPool& pool, Sequence& sequence);

  SchedulerLimits limits_;
  Plan plan_;
  std::vector<i32> chain_;  // scratch of try_admit
};

}  // namespace tg::engine
