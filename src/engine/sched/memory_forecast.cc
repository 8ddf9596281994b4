#include "engine/sched/memory_forecast.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

namespace {

// A longer output raises the guess nine times as far as a shorter one lowers it, so it settles
// where one in ten is longer.
constexpr f64 kDecile = 0.1;
constexpr f64 kLearningRate = 1.0 / 16;

}  // namespace

void OutputGuess::learn(Priority priority, i64 output_tokens) {
  f64& guess = guess_[static_cast<std::size_t>(priority)];
  f64 pace = kLearningRate * std::max(1.0, guess);
  guess += static_cast<f64>(output_tokens) > guess ? (1 - kDecile) * pace : -kDecile * pace;
  guess = std::max(0.0, guess);
}

i64 OutputGuess::left(const Sequence& sequence, i64 block_tokens) const {
  i64 guess = static_cast<i64>(guess_[static_cast<std::size_t>(sequence.request.priority)]);
  i64 expected = std::max(guess - sequence.usage.output_tokens, block_tokens);
  return std::min(sequence.outputs_left(), expected);
}

MemoryForecast::MemoryForecast(i64 running_max, i64 first_guess) : guess_(first_guess) {
  running_.reserve(static_cast<std::size_t>(running_max));
  scratch_.reserve(static_cast<std::size_t>(running_max) + 1);
}

void MemoryForecast::observe(const SequenceQueue& queue, const BlockPool& pool) {
  running_.clear();
  for (i64 i = 0; i < queue.running(); ++i) {
    const Sequence& sequence = queue.at(i);
    running_.push_back({.known = sequence.known(),
                        .held = static_cast<i64>(sequence.blocks.size()),
                        .freed = pool.count_unshared(sequence.blocks),
                        .steps = guess_.left(sequence, pool.block_tokens()) - 1});
  }
}

bool MemoryForecast::fits(const Sequence& sequence, i64 victims, const BlockPool& pool) {
  TG_ASSERT(victims <= static_cast<i64>(running_.size()));
  i64 blocks = pool.blocks_for(sequence.known());
  i64 fresh = blocks - static_cast<i64>(sequence.blocks.size());
  i64 free = pool.available() - fresh;
  std::span<const Growth> running = running_;
  for (const Growth& victim : running.last(static_cast<std::size_t>(victims))) free += victim.freed;
  if (free < 0) return false;
  running = running.first(running.size() - static_cast<std::size_t>(victims));
  // Alone it always fits: submit() saw to it.
  if (running.empty()) return true;
  scratch_.assign(running.begin(), running.end());
  scratch_.push_back({.known = sequence.known(),
                      .held = blocks,
                      .freed = fresh,
                      .steps = guess_.left(sequence, pool.block_tokens()) - 1});
  std::ranges::sort(scratch_, {}, &Growth::steps);
  return survives(scratch_, free, pool.block_tokens());
}

i64 MemoryForecast::Growth::blocks_more(i64 step, i64 block_tokens) const {
  return std::max<i64>(0, (known + step + block_tokens - 1) / block_tokens - held);
}

// `all` by their ends. What they hold is largest just before somebody ends.
bool MemoryForecast::survives(std::span<const Growth> all, i64 free, i64 block_tokens) {
  i64 whole = 0;
  for (const Growth& growth : all) whole += growth.blocks_more(growth.steps, block_tokens);
  if (whole <= free) return true;
  for (std::size_t ended = 0; ended < all.size(); ++ended) {
    i64 more = 0;
    for (const Growth& growth : all.subspan(ended)) {
      more += growth.blocks_more(all[ended].steps, block_tokens);
    }
    if (more > free) return false;
    free += all[ended].freed;
  }
  return true;
}

}  // namespace tg::engine
