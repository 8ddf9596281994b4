// What `logits` and `sample` mean for one row: pure functions, plain loops over the vocabulary. The
// engine's sampler is compared with these.
//
// Order: bias; repetition penalty over prompt and output; presence and frequency penalties over the
// output; grammar mask; temperature; top-k; top-p; min-p; Gumbel-max. Scores are f32 up to the
// temperature, z = score / temperature is f64. Weights e^(z - z_max) count in units of 2^-40,
// truncated. Every tie goes to the lowest id.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "isa/sampling.h"

namespace tg::isa {

// A row to be sampled; all borrowed.
struct SampleRow {
  std::span<const f32> logits;  // [V]
  const SamplingParams& params;
  std::span<const i32> prompt;
  std::span<const i32> output;   // sampled so far
  std::span<const u64> allowed;  // grammar: a bit per token, lowest first; empty allows all
  u64 position = 0;              // of the token to be sampled: prompt + output
};

struct SampledToken {
  i32 id = 0;
  f32 logprob = 0.0f;                    // ln softmax(logits) at id, before any parameter
  std::vector<std::pair<i32, f32>> top;  // the params.logprobs most likely, of the same softmax
};

// The scores after bias and penalties, minus infinity where mask, top-k, top-p or min-p removed a
// token: the result of `logits`. kInvalid if no token is left or a logit is NaN.
Result<std::vector<f32>> filter_logits(const SampleRow& row);

// The draw over such scores: the result of `sample`. REQUIRES: at least one finite score.
i32 draw_token(std::span<const f32> scores, const SamplingParams& params, u64 position);

// Independent uses of one row's Philox stream: the last word of its counter.
enum class Draw : u32 { kSample, kAccept, kResidual };

// The number in (0,1) that seed, position, token and use name, in steps of 2^-32.
f64 uniform_draw(const SamplingParams& params, u64 position, i32 token, Draw use);

// -ln(-ln(u)) of that number.
f64 gumbel_draw(const SamplingParams& params, u64 position, i32 token, Draw use);

// The probabilities that draw_token draws by: softmax(score / temperature) in f64, summed in order
// of id; greedy: all on the token it would take. REQUIRES: at least one finite score.
std::vector<f64> token_probabilities(std::span<const f32> scores, const SamplingParams& params);

// Both, with log-probabilities of the row as the model gave it.
Result<SampledToken> sample_row(const SampleRow& row);

// ln softmax(logits) at one token, summed in f64 in order of id.
f32 log_probability(std::span<const f32> logits, i32 token);

// The n most likely tokens, most likely first.
std::vector<std::pair<i32, f32>> most_likely(std::span<const f32> logits, i64 n);

}  // namespace tg::isa
