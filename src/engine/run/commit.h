// The last third of a step: what was computed becomes true. Shares of the cost are noted, keys
// counted and offered to the prefix cache, tokens sampled, and proposals kept as far as they are
// what the sampler draws.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/run/batch.h"
#include "engine/sample/sampler.h"
#include "unit/actual.h"

namespace tg::engine {

// Of one step that the device ran.
struct RanBatch {
  std::span<const BatchPart> parts;
  std::span<const f32> logits;              // [rows, V]
  std::span<const unit::StepShare> shares;  // of each part
  i64 began_ns = 0;
  i64 ended_ns = 0;
};

class Committer {
 public:
  // The pool is borrowed. `totals` are the counters that it keeps up to date. funds_wait_ns: as in
  // EngineLimits.
  Committer(BlockPool& pool, i64 vocabulary, i64 funds_wait_ns, EngineStatus& totals);
  void commit(const RanBatch& batch, SequenceQueue& queue, StepResult& result);

 private:
  void note_share(Sequence& sequence, const unit::StepShare& share, i64 began_ns);
  void advance(Sequence& sequence, i64 tokens);
  void sample_rows(const BatchPart& part, const RanBatch& batch, SequenceQueue& queue,
                   StepResult& result);
  std::optional<i32> draw(Sequence& sequence, std::span<const f32> row, SequenceQueue& queue);
  void take(Sequence& sequence, i32 token, i64 now_ns, SequenceQueue& queue);
  bool allow(const Sequence& sequence);
  void emit(const Sequence& sequence, i32 token, std::span<const f32> row, StepResult& result);

  BlockPool& pool_;
  i64 funds_wait_ns_;
  std::size_t vocabulary_;
  EngineStatus& totals_;
  Sampler sampler_;
  LogprobReader logprobs_;
  std::vector<u64> allowed_;  // scratch: a bit per token
};

}  // namespace tg::engine
