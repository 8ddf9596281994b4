// Lays a plan out as the packed step that an executor runs: host integers only, in buffers
// reserved for the executor's limits, so that a step allocates nothing.
#pragma once

#include <vector>

#include "backend/executor.h"
#include "engine/sched/scheduler.h"

namespace tg::engine {

// Tokens of one sequence that a step computes: `count` of them after `computed`, known ones first,
// then proposed ones.
struct TokenRun {
  std::span<const i32> known;
  std::span<const i32> draft;
  std::span<const i32> blocks;  // at least enough for their keys
  i64 computed = 0;
  i64 count = 0;
};

// What one sequence has in the batch.
struct BatchPart {
  i64 sequence = 0;  // whose it is, to the caller: an index
  i64 computed = 0;  // before the step
  i64 tokens = 0;
  i64 row = 0;   // its first one of the logits
  i64 rows = 0;  // one for the last known token and for each proposed one, if they are in the run
};

class BatchBuilder {
 public:
  BatchBuilder(const backend::ExecutorLimits& limits, i64 block_tokens);

  // The batch of the planned tokens and the proposed ones; parts are named by the queue's indices.
  // Its spans and parts() are valid until the next call.
  backend::StepBatch build(const SequenceQueue& queue, const Plan& plan);
  // The same by hand.
  void clear();
  void add(i64 sequence, const TokenRun& run);
  backend::StepBatch batch() const;

  std::span<const BatchPart> parts() const { return parts_; }
  const StepSize& size() const { return size_; }

 private:
  i64 block_tokens_;
  StepSize size_;
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
