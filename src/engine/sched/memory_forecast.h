// Whether one more request fits beside those that run, not only now but until it ends: the pool is
// simulated step by step of their expected growth. Outputs end when they like, so how long they get
// is a guess, learnt from those that have ended; a wrong one costs a preemption, not an error.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/sched/queue.h"

namespace tg::engine {

// Output tokens that a request of each class will hardly exceed: an online estimate of the upper
// decile.
class OutputGuess {
 public:
  explicit OutputGuess(i64 first_guess) { guess_.fill(static_cast<f64>(first_guess)); }
  void learn(Priority priority, i64 output_tokens);
  // Tokens that `sequence` is expected to output yet: at least a block, if it may.
  i64 left(const Sequence& sequence, i64 block_tokens) const;

 private:
  std::array<f64, kPriorities> guess_{};
};

class MemoryForecast {
 public:
  MemoryForecast(i64 running_max, i64 first_guess);
  void learn(Priority priority, i64 output_tokens) { guess_.learn(priority, output_tokens); }

  // Looks at the running sequences; again after each change of them.
  void observe(const SequenceQueue& queue, const BlockPool& pool);
  // Whether `sequence`, which holds its prefix hit and nothing else, fits when the last `victims`
  // of the running have given their blocks back.
  bool fits(const Sequence& sequence, i64 victims, const BlockPool& pool);

 private:
  // What one sequence holds and how it will grow.
  struct Growth {
    i64 known = 0;
    i64 held = 0;   // blocks
    i64 freed = 0;  // of them, when it ends: those it does not share
    i64 steps = 0;  // until it ends

    i64 blocks_more(i64 step, i64 block_tokens) const;
  };

  static bool survives(std::span<const Growth> all, i64 free, i64 block_tokens);

  OutputGuess guess_;
  std::vector<Growth> running_;
  std::vector<Growth> scratch_;
};

}  // namespace tg::engine
