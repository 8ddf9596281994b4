#include "engine/run/batch.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

BatchBuilder::BatchBuilder(const backend::ExecutorLimits& limits, i64 block_tokens)
    : block_tokens_(block_tokens) {
  std::size_t tokens = static_cast<std::size_t>(limits.tokens_max);
  std::size_t sequences = static_cast<std::size_t>(limits.sequences_max);
  std::size_t blocks = static_cast<std::size_t>(limits.context_max / block_tokens + 1);
  parts_.reserve(sequences);
  ids_.reserve(tokens);
  positions_.reserve(tokens);
  slots_.reserve(tokens);
  cu_.reserve(sequences + 1);
  past_.reserve(sequences);
  page_begin_.reserve(sequences + 1);
  pages_.reserve(sequences * blocks);
  rows_.reserve(static_cast<std::size_t>(limits.rows_max));
}

backend::StepBatch BatchBuilder::build(const SequenceQueue& queue, const Plan& plan) {
  TG_ASSERT(static_cast<i64>(plan.tokens.size()) == queue.running());
  clear();
  for (i64 i = 0; i < queue.running(); ++i) {
    const Sequence& sequence = queue.at(i);
    i64 count = plan.tokens[i] + static_cast<i64>(sequence.draft.size());
    if (count == 0) continue;
    add(i, {.known = sequence.tokens,
            .draft = sequence.draft,
            .blocks = sequence.blocks,
            .computed = sequence.computed,
            .count = count});
  }
  return batch();
}

void BatchBuilder::clear() {
  for (std::vector<i32>* v : {&ids_, &positions_, &past_, &pages_, &slots_, &rows_}) v->clear();
  cu_.assign(1, 0);
  page_begin_.assign(1, 0);
  parts_.clear();
  size_ = {};
}

void BatchBuilder::add(i64 sequence, const TokenRun& run) {
  i64 known = static_cast<i64>(run.known.size());
  i64 end = run.computed + run.count;
  TG_ASSERT(run.count > 0 && end <= known + static_cast<i64>(run.draft.size()));
  i64 blocks = (end + block_tokens_ - 1) / block_tokens_;
  TG_ASSERT(blocks <= static_cast<i64>(run.blocks.size()));
  for (i64 position = run.computed; position < end; ++position) {
    i64 block = run.blocks[position / block_tokens_];
    ids_.push_back(position < known ? run.known[position] : run.draft[position - known]);
    positions_.push_back(static_cast<i32>(position));
    slots_.push_back(static_cast<i32>(block * block_tokens_ + position % block_tokens_));
  }
  past_.push_back(static_cast<i32>(run.computed));
  cu_.push_back(static_cast<i32>(ids_.size()));
  pages_.insert(pages_.end(), run.blocks.begin(), run.blocks.begin() + blocks);
  page_begin_.push_back(static_cast<i32>(pages_.size()));
  i64 rows = std::clamp<i64>(end - known + 1, 0, run.count);
  parts_.push_back({sequence, run.computed, run.count, static_cast<i64>(rows_.size()), rows});
  i64 tokens = static_cast<i64>(ids_.size());
  for (i64 token = tokens - rows; token < tokens; ++token) rows_.push_back(static_cast<i32>(token));
  size_.add(run.computed, run.count, rows);
}

backend::StepBatch BatchBuilder::batch() const {
  return {ids_, positions_, cu_, past_, page_begin_, pages_, slots_, rows_};
}

}  // namespace tg::engine
