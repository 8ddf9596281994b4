// Lays a plan out as the packed step that an executor runs: host integers only, in buffers
// reserved for the executor's limits, so that a step allocates nothing.
#pragma once

#include <vector>

#include "backend/executor.h"
#include "engine/sched/scheduler.h"

namespace tg::engine {

// What one sequence has in the batch.
struct BatchPart {
  i64 sequence = 0;  // index in the queue
  i64 tokens = 0;
  i64 row = -1;  // of the logits, or -1: its known tokens are not all computed yet
};

class BatchBuilder {
 public:
  BatchBuilder(const backend::ExecutorLimits& limits, i64 block_tokens);

  // The batch of the planned tokens; its spans and parts() are valid until the next call.
  backend::StepBatch build(const SequenceQueue& queue, const Plan& plan);
  std::span<const BatchPart> parts() const { return parts_; }

 private:
  void clear();
  void add_sequence(const Sequence& sequence, i64 tokens);

  i64 block_tokens_;
  std::vector<BatchPart> parts_;
  std::vector<i32> ids_;
  std::vector<i32> positions_;
  std::vector<i32> cu_;
  std::vector<i32> past_;
  std::vector<i32> page_begin_;
  std::vector<i32> pages_;
  std::vector<i32> slots_;
  std::vector<i32> rows_;
};

}  // namespace tg::engine
