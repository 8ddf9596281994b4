// Puts proposed tokens after the known ones of sequences that decode, as long as the step model
// says that they pay: the step computes them as a chunk with a row of logits each, and commit keeps
// those that equal what the sampler draws anyway. The draw depends on seed, position and token id,
// so the output is the same bit for bit, greedy or not.
#pragma once

#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/sched/scheduler.h"
#include "engine/spec/drafter.h"

namespace tg::engine {

struct SpeculatorLimits {
  i64 draft_tokens_max = 0;  // of a sequence in a step; 0: off
  i64 step_tokens_max = 0;
  i64 rows_max = 0;
  i64 running_max = 0;
};

class Speculator {
 public:
  // A drafter is asked where a sequence's own text has nothing to offer; borrowed, may be null.
  Speculator(const SpeculatorLimits& limits, Drafter* drafter);
  // Makes room for what a new sequence will repeat.
  void prepare(Sequence& sequence) const;
  // Fills `draft` of running sequences, within what the plan leaves of the step, without preempting
  // anybody, and not in steps that also work on prompts: those use the processor well enough.
  // Returns the drafter's time, of which each sequence bears its share.
  i64 propose(const SequenceQueue& queue, const Plan& plan, BlockPool& pool,
              const StepModel& model);
  void forget(const Sequence& sequence) const;

 private:
  i64 most_for(const Sequence& sequence) const;
  void draft(Sequence& sequence, BlockPool& pool, const StepTime& time);
  i64 worth(const Sequence& sequence, i64 most, const StepTime& time, f64 draft_ns) const;
  i64 make_room(Sequence& sequence, i64 most, BlockPool& pool);
  i64 ask_drafter();

  SpeculatorLimits limits_;
  Drafter* drafter_;
  StepSize size_;     // of the step, proposals included
  f64 expected_ = 0;  // output tokens of the step
  i64 spare_blocks_ = 0;
  u64 declined_ = 0;  // times that the step model said no
  std::vector<DraftAsk> asks_;
  std::vector<Sequence*> asking_;  // whose they are
};

// Learns from one proposed token that was, or was not, what the sampler drew.
void note_proposal(Drafting& drafting, bool is_accepted);

}  // namespace tg::engine
