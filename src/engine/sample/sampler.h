// From a row of logits to a token: the ISA's `logits` and `sample` ops on the host (isa.md §4.7),
// equal to isa/reference but linear in the vocabulary: candidates are selected, not sorted, and a
// random number is drawn only where it could win. A row's outcome depends on its own logits,
// parameters, tokens and position, never on its neighbours.
#pragma once

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "isa/sampling.h"

namespace tg::engine {

struct SampleInput {
  std::span<const f32> logits;  // [V]
  const isa::SamplingParams& params;
  std::span<const i32> tokens;  // The sequence so far: prompt, then output. Its length is the
                                // position of the token to be sampled.
  i64 prompt_tokens = 0;
  std::span<const u64> allowed = {};  // a bit per token; empty: all of them
};

class Sampler {
 public:
  explicit Sampler(i64 vocabulary);

  // The token. kInvalid if no logit is finite or one is NaN: the model, not the caller, is broken.
  // REQUIRES: vocabulary logits; params that check_request() accepts; tokens in the vocabulary.
  Result<i32> sample(const SampleInput& input);

 private:
  struct Candidate {
    i32 id;
    f64 z;  // score / temperature
  };

  std::span<const f32> adjust(const SampleInput& input);
  void penalise(const SampleInput& input);
  void collect(std::span<const f32> scores, i32 best, f32 temperature);
  void keep_top_k(i32 top_k);
  void keep_top_p(f32 top_p);
  void sort_next(std::size_t begin, std::size_t end);
  void keep_min_p(f32 min_p);
  i32 draw(u64 seed, u64 position, i32 top) const;

  std::vector<f32> scores_;            // logits after bias and penalties
  std::vector<i32> counts_;            // by token; all zero between calls
  std::vector<Candidate> candidates_;  // what can still be drawn
  f64 z_max_ = 0;
  // least_words_[n]: words below it give a g less than n.
  std::array<u32, 24> least_words_{};
};

// Natural logarithms of softmax(logits) at one token and at the n most likely ones (ties to the
// lowest id), of the raw logits: what the model said, before parameters changed it.
class LogprobReader {
 public:
  explicit LogprobReader(i64 vocabulary);
  // REQUIRES: a row that sample() accepted.
  void read(std::span<const f32> logits);
  f32 of(i32 token) const;
  // At most n pairs, most likely first, appended to `out`.
  void top(i64 n, std::vector<std::pair<i32, f32>>& out);

 private:
  std::span<const f32> logits_;
  f64 log_sum_ = 0;
  std::vector<i32> order_;  // scratch of top(): token ids
};

}  // namespace tg::engine
