#include "engine/run/batch.h"

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
  rows_.reserve(sequences);
}

backend::StepBatch BatchBuilder::build(const SequenceQueue& queue, const Plan& plan) {
  TG_ASSERT(static_cast<i64>(plan.tokens.size()) == queue.running);
  clear();
  for (i64 i = 0; i < queue.running; ++i) {
    i64 tokens = plan.tokens[i];
    if (tokens == 0) continue;
    const Sequence& sequence = queue.at(i);
    add_sequence(sequence, tokens);
    bool wants_row = sequence.computed + tokens == sequence.known();
    parts_.push_back({i, tokens, wants_row ? static_cast<i64>(rows_.size()) : -1});
    if (wants_row) rows_.push_back(static_cast<i32>(ids_.size() - 1));
  }
  return {ids_, positions_, cu_, past_, page_begin_, pages_, slots_, rows_};
}

void BatchBuilder::clear() {
  for (std::vector<i32>* v : {&ids_, &positions_, &past_, &pages_, &slots_, &rows_}) v->clear();
  cu_.assign(1, 0);
  page_begin_.assign(1, 0);
  parts_.clear();
}

void BatchBuilder::add_sequence(const Sequence& sequence, i64 tokens) {
  i64 end = sequence.computed + tokens;
  TG_ASSERT(tokens > 0 && end <= sequence.known());
  i64 blocks = (end + block_tokens_ - 1) / block_tokens_;
  TG_ASSERT(blocks <= static_cast<i64>(sequence.blocks.size()));
  for (i64 position = sequence.computed; position < end; ++position) {
    i64 block = sequence.blocks[position / block_tokens_];
    ids_.push_back(sequence.tokens[position]);
    positions_.push_back(static_cast<i32>(position));
    slots_.push_back(static_cast<i32>(block * block_tokens_ + position % block_tokens_));
  }
  past_.push_back(static_cast<i32>(sequence.computed));
  cu_.push_back(static_cast<i32>(ids_.size()));
  pages_.insert(pages_.end(), sequence.blocks.begin(), sequence.blocks.begin() + blocks);
  page_begin_.push_back(static_cast<i32>(pages_.size()));
}

}  // namespace tg::engine
