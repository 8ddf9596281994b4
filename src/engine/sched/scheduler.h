// Decides what a step computes, in the form of vLLM's v1 scheduler: one token budget, no phases
// (sequence.h). A function of queue, pool, step model, limits, what it learnt of outputs' lengths
// and the time it is given.
#pragma once

#include <vector>

#include "backend/executor.h"
#include "engine/kv/block_pool.h"
#include "engine/sched/memory_forecast.h"
#include "engine/sched/queue.h"
#include "engine/sched/step_model.h"

namespace tg::engine {

struct SchedulerLimits {
  i64 running_max = 0;
  i64 step_tokens_max = 0;  // at least running_max, so that no running sequence waits for ever
  i64 context_max = 0;      // bounds the length of a chain of cached blocks
  i64 step_target_ns = 0;   // 0: off
  i64 step_longest_ns = 0;  // below the target it counts as the target
  i64 preemptions_max = 0;
  i64 output_guess = 0;
  i64 funds_keep_ns = 0;
  i64 page_bytes = 0;
};

// Tokens to compute, for each running sequence in the queue's order; 0: it sits this step out.
struct Plan {
  std::vector<i64> tokens;
  StepSize size;  // of the whole
  std::vector<PreemptEvent> preempted;
  // Before the step, in this order: blocks that begin as another one does (copy on write), and keys
  // to and from the host's memory.
  std::vector<backend::PageCopy> copies;
  i64 swap_copies = 0;     // of them to or from the host's
  i64 tokens_swapped = 0;  // whose keys go to the host's
};

class Scheduler {
 public:
  // The pool is looked at for its sizes. REQUIRES: 0 < running_max <= step_tokens_max.
  Scheduler(const SchedulerLimits& limits, const BlockPool& pool);

  // 1. Finds blocks for the known tokens of everybody who runs, in order of precedence; when the
  //    pool is exhausted who is paused gives all of his back, then the last one.
  // 2. Unless somebody was preempted, admits waiting requests in order while budget is left for
  //    them and they fit; if need be, running ones of strictly lower classes give way.
  // 3. Shares out the budget: one token to each sequence that lacks one, then the rest in order,
  //    but for a part that a much shorter prompt of the first one's class has to itself.
  // Work remains in the plan as long as anybody runs or waits. The plan is valid until the next
  // call. REQUIRES: not all that is open is paused.
  const Plan& schedule(SequenceQueue& queue, BlockPool& pool, const StepModel& model, i64 now_ns);
  // A request ended by itself: admission learns how long outputs get.
  void learn(const Sequence& ended);
  // So long took the copies of the last plan.
  void note_copies(i64 wall_ns);

 private:
  bool reclaim_paused(SequenceQueue& queue, BlockPool& pool, i64 until_ns);
  i64 give_blocks_back(Sequence& sequence, BlockPool& pool);
  bool swap_pays(i64 tokens, i64 pages) const;
  void secure_blocks(SequenceQueue& queue, BlockPool& pool);
  void admit(SequenceQueue& queue, BlockPool& pool, i64 now_ns);
  bool try_admit(SequenceQueue& queue, BlockPool& pool, Sequence& sequence, i64 now_ns);
  PartOfBlock find_part(const SequenceQueue& queue, const BlockPool& pool,
                        const Sequence& sequence) const;
  bool has_budget_for(const SequenceQueue& queue, const Sequence& sequence,
                      const Standing& standing) const;
  i64 lower_classes(const SequenceQueue& queue, const Sequence& sequence) const;
  i64 victims_for(const SequenceQueue& queue, const BlockPool& pool, const Sequence& sequence);
  void preempt_last(SequenceQueue& queue, BlockPool& pool, PreemptReason reason, u64 beneficiary);
  void share_budget(const SequenceQueue& queue, const StepModel& model);
  i64 chunk(const Sequence& first, i64 budget, const StepModel& model) const;
  f64 length_ns(const Sequence& first, const StepModel& model) const;
  void share_prompts(const SequenceQueue& queue, i64 first, i64 room);

  SchedulerLimits limits_;
  MemoryForecast forecast_;
  Plan plan_;
  StepTime time_;           // while a plan is made; no steps: nothing is known
  f64 page_copy_ns_;        // of a page to or from the host's memory
  std::vector<i32> chain_;  // scratch of try_admit: the prefix hit's whole blocks
};

}  // namespace tg::engine
