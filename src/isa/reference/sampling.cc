#include "isa/reference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/assert.h"
#include "base/philox.h"

namespace tg::isa {

namespace {

constexpr f32 kRemoved = -std::numeric_limits<f32>::infinity();
constexpr f64 kFixedPointOne = 0x1.0p40;

void add_bias(std::vector<f32>& scores, const SamplingParams& params) {
  for (const std::pair<i32, f32>& bias : params.logit_bias)
    scores[static_cast<std::size_t>(bias.first)] += bias.second;
}

void penalise(std::vector<f32>& scores, const SampleRow& row) {
  std::map<i32, i32> times_output;
  for (i32 token : row.output) ++times_output[token];
  std::set<i32> seen(row.prompt.begin(), row.prompt.end());
  seen.insert(row.output.begin(), row.output.end());
  f32 repetition = row.params.repetition_penalty;
  for (i32 token : seen) {
    f32& score = scores[static_cast<std::size_t>(token)];
    if (repetition != 1.0f) score = score > 0 ? score / repetition : score * repetition;
    std::map<i32, i32>::const_iterator count = times_output.find(token);
    if (count == times_output.end()) continue;
    score -= row.params.presence_penalty;
    score -= row.params.frequency_penalty * static_cast<f32>(count->second);
  }
}

void mask(std::vector<f32>& scores, std::span<const u64> allowed) {
  if (allowed.empty()) return;
  TG_ASSERT(allowed.size() * 64 >= scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if ((allowed[i / 64] >> (i % 64) & 1) == 0) scores[i] = kRemoved;
  }
}

// Token ids still in, most likely first.
std::vector<i32> by_likelihood(std::span<const f32> scores) {
  std::vector<i32> order;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != kRemoved) order.push_back(static_cast<i32>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](i32 a, i32 b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

// Which tokens remain after top-k, top-p and min-p, from the most likely down.
std::size_t kept(std::span<const u64> weights, const SamplingParams& params) {
  std::size_t count = weights.size();
  if (params.top_k > 0) count = std::min(count, static_cast<std::size_t>(params.top_k));
  if (params.top_p < 1.0f) {
    u64 whole = std::accumulate(weights.begin(), weights.begin() + static_cast<i64>(count), u64{0});
    u64 wanted = static_cast<u64>(static_cast<f64>(params.top_p) * static_cast<f64>(whole));
    u64 reached = 0;
    for (std::size_t i = 0; i < count; ++i) {
      reached += weights[i];
      if (reached >= wanted) count = i + 1;
    }
  }
  if (params.min_p > 0.0f) {
    u64 least = static_cast<u64>(static_cast<f64>(params.min_p) * kFixedPointOne);
    while (count > 0 && weights[count - 1] < least) --count;
  }
  return count;
}

// ln of the sum of exponentials, f64, in order.
f64 log_sum(std::span<const f32> logits) {
  f64 highest = *std::max_element(logits.begin(), logits.end());
  f64 sum = 0;
  for (f32 logit : logits) sum += std::exp(static_cast<f64>(logit) - highest);
  return highest + std::log(sum);
}

}  // namespace

Result<std::vector<f32>> filter_logits(const SampleRow& row) {
  std::vector<f32> scores(row.logits.begin(), row.logits.end());
  add_bias(scores, row.params);
  penalise(scores, row);
  mask(scores, row.allowed);
  bool nan = std::any_of(scores.begin(), scores.end(), [](f32 s) { return s != s; });
  std::vector<i32> order = nan ? std::vector<i32>{} : by_likelihood(scores);
  if (order.empty() || !std::isfinite(scores[static_cast<std::size_t>(order[0])]))
    return Error{Code::kInvalid, "sample: a row of logits is not finite"};
  if (row.params.temperature == 0.0f) return scores;
  f64 temperature = row.params.temperature;
  f64 z_max = scores[static_cast<std::size_t>(order[0])] / temperature;
  std::vector<u64> weights;
  for (i32 id : order) {
    f64 z = scores[static_cast<std::size_t>(id)] / temperature;
    weights.push_back(static_cast<u64>(std::exp(z - z_max) * kFixedPointOne));
  }
  for (std::size_t i = kept(weights, row.params); i < order.size(); ++i)
    scores[static_cast<std::size_t>(order[i])] = kRemoved;
  return scores;
}

f64 uniform_draw(const SamplingParams& params, u64 position, i32 token, Draw use) {
  u32 word = philox4x32_10({static_cast<u32>(params.seed), static_cast<u32>(params.seed >> 32)},
                           {static_cast<u32>(position), static_cast<u32>(position >> 32),
                            static_cast<u32>(token), static_cast<u32>(use)})[0];
  return (static_cast<f64>(word) + 0.5) * 0x1.0p-32;
}

f64 gumbel_draw(const SamplingParams& params, u64 position, i32 token, Draw use) {
  return -std::log(-std::log(uniform_draw(params, position, token, use)));
}

i32 draw_token(std::span<const f32> scores, const SamplingParams& params, u64 position) {
  i32 best = -1;
  f64 best_value = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kRemoved) continue;
    i32 id = static_cast<i32>(i);
    f64 value = params.temperature == 0.0f ? static_cast<f64>(scores[i])
                                           : static_cast<f64>(scores[i]) / params.temperature +
                                                 gumbel_draw(params, position, id, Draw::kSample);
    if (best >= 0 && value <= best_value) continue;
    best = id;
    best_value = value;
  }
  TG_ASSERT(best >= 0);
  return best;
}

std::vector<f64> token_probabilities(std::span<const f32> scores, const SamplingParams& params) {
  std::vector<f64> out(scores.size(), 0.0);
  const f32* highest = std::max_element(scores.data(), scores.data() + scores.size());
  TG_ASSERT(*highest != kRemoved);
  if (params.temperature == 0.0f) {
    out[static_cast<std::size_t>(highest - scores.data())] = 1.0;
    return out;
  }
  f64 z_max = static_cast<f64>(*highest) / params.temperature;
  f64 sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kRemoved) continue;
    out[i] = std::exp(static_cast<f64>(scores[i]) / params.temperature - z_max);
    sum += out[i];
  }
  for (f64& p : out) p /= sum;
  return out;
}

Result<SampledToken> sample_row(const SampleRow& row) {
  TG_ASSIGN(std::vector<f32> scores, filter_logits(row));
  SampledToken token;
  token.id = draw_token(scores, row.params, row.position);
  token.logprob = log_probability(row.logits, token.id);
  if (row.params.logprobs > 0) token.top = most_likely(row.logits, row.params.logprobs);
  return token;
}

f32 log_probability(std::span<const f32> logits, i32 token) {
  return static_cast<f32>(static_cast<f64>(logits[static_cast<std::size_t>(token)]) -
                          log_sum(logits));
}

std::vector<std::pair<i32, f32>> most_likely(std::span<const f32> logits, i64 n) {
  std::vector<i32> order = by_likelihood(logits);
  order.resize(std::min(order.size(), static_cast<std::size_t>(std::max<i64>(n, 0))));
  f64 sum = log_sum(logits);
  std::vector<std::pair<i32, f32>> out;
  for (i32 id : order)
    out.emplace_back(
        id, static_cast<f32>(static_cast<f64>(logits[static_cast<std::size_t>(id)]) - sum));
  return out;
}

}  // namespace tg::isa
