#include "engine/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/assert.h"
#include "base/philox.h"

namespace tg::engine {

namespace {

// With u = (word + 0.5) * 2^-32, -log(-log(u)) lies in (-3.14, 22.87): a score that is 26.1 below
// the best cannot win the draw. Below 28, e^x is less than 2^-40, so neither can it count in top-p.
constexpr f64 kReach = 28.0;
constexpr f64 kGumbelMax = 22.9;
constexpr f64 kFixedPointOne = 0x1.0p40;

// Highest first, ties to the lowest id.
struct MoreLikely {
  template <typename C>
  bool operator()(const C& a, const C& b) const {
    return a.z != b.z ? a.z > b.z : a.id < b.id;
  }
};

// e^(z - z_max) in units of 2^-40, truncated.
u64 fixed_weight(f64 z_below_max) {
  return static_cast<u64>(std::exp(z_below_max) * kFixedPointOne);
}

i32 argmax(std::span<const f32> scores) {
  i32 best = -1;
  f32 best_score = -std::numeric_limits<f32>::infinity();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!(scores[i] > best_score)) continue;
    best = static_cast<i32>(i);
    best_score = scores[i];
  }
  return best;
}

bool any_nan(std::span<const f32> scores) {
  bool nan = false;
  for (f32 score : scores) nan |= score != score;
  return nan;
}

u32 random_word(u64 seed, u64 position, i32 id) {
  return philox4x32_10(
      {static_cast<u32>(seed), static_cast<u32>(seed >> 32)},
      {static_cast<u32>(position), static_cast<u32>(position >> 32), static_cast<u32>(id), 0})[0];
}

f64 gumbel(u32 word) {
  f64 u = (static_cast<f64>(word) + 0.5) * 0x1.0p-32;
  return -std::log(-std::log(u));
}

}  // namespace

Sampler::Sampler(i64 vocabulary)
    : scores_(static_cast<std::size_t>(vocabulary)), counts_(static_cast<std::size_t>(vocabulary)) {
  TG_ASSERT(vocabulary > 0);
  candidates_.reserve(static_cast<std::size_t>(vocabulary));
  for (std::size_t level = 0; level < least_words_.size(); ++level) {
    // One level of slack covers every rounding.
    f64 u = std::exp(-std::exp(1.0 - static_cast<f64>(level)));
    least_words_[level] = static_cast<u32>(u * 0x1.0p32);
  }
}

Result<i32> Sampler::sample(const SampleInput& input) {
  TG_ASSERT(input.logits.size() == scores_.size());
  std::span<const f32> scores = adjust(input);
  i32 best = argmax(scores);
  if (best < 0 || !std::isfinite(scores[best]) || any_nan(input.logits)) {
    return Error{Code::kInvalid, "sampler: the model's logits are not finite"};
  }
  if (input.params.temperature == 0.0f) return best;
  collect(scores, best, input.params.temperature);
  keep_top_k(input.params.top_k);
  keep_top_p(input.params.top_p);
  keep_min_p(input.params.min_p);
  return draw(input.params.seed, input.tokens.size(), best);
}

// Bias, penalties and mask. The raw logits are left alone: logprobs are read from them.
std::span<const f32> Sampler::adjust(const SampleInput& input) {
  const isa::SamplingParams& params = input.params;
  bool penalises = params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
                   params.frequency_penalty != 0.0f;
  if (!penalises && params.logit_bias.empty() && input.allowed.empty()) return input.logits;
  std::ranges::copy(input.logits, scores_.begin());
  for (const std::pair<i32, f32>& bias : params.logit_bias) scores_[bias.first] += bias.second;
  if (penalises) penalise(input);
  for (std::size_t i = 0; i < scores_.size() && !input.allowed.empty(); ++i) {
    bool is_allowed = (input.allowed[i / 64] >> (i % 64) & 1) != 0;
    if (!is_allowed) scores_[i] = -std::numeric_limits<f32>::infinity();
  }
  return scores_;
}

void Sampler::penalise(const SampleInput& input) {
  const isa::SamplingParams& params = input.params;
  std::span<const i32> prompt = input.tokens.first(static_cast<std::size_t>(input.prompt_tokens));
  std::span<const i32> output = input.tokens.subspan(static_cast<std::size_t>(input.prompt_tokens));
  for (i32 token : output) ++counts_[token];
  constexpr i32 kDone = -1;
  auto visit = [&](i32 token) {
    i32 count = counts_[token];
    if (count == kDone) return;
    counts_[token] = kDone;
    f32& score = scores_[token];
    score = score > 0 ? score / params.repetition_penalty : score * params.repetition_penalty;
    if (count == 0) return;
    score -= params.presence_penalty;
    score -= params.frequency_penalty * static_cast<f32>(count);
  };
  for (i32 token : output) visit(token);
  for (i32 token : prompt) visit(token);
  for (i32 token : input.tokens) counts_[token] = 0;
}

// Everything that could still be drawn or count in top-p.
void Sampler::collect(std::span<const f32> scores, i32 best, f32 temperature) {
  candidates_.clear();
  z_max_ = static_cast<f64>(scores[best]) / temperature;
  f64 least = std::min<f64>((z_max_ - kReach) * temperature, scores[best]);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < least) continue;
    candidates_.push_back({static_cast<i32>(i), static_cast<f64>(scores[i]) / temperature});
  }
  TG_ASSERT(!candidates_.empty());
}

void Sampler::keep_top_k(i32 top_k) {
  std::size_t k = static_cast<std::size_t>(top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + top_k, candidates_.end(),
                   MoreLikely());
  candidates_.resize(k);
}

// The fewest most likely ones whose weights reach top_p of the whole. Selected in growing pieces:
// the answer is usually a small head of a long list.
void Sampler::keep_top_p(f32 top_p) {
  if (top_p >= 1.0f) return;
  u64 whole = 0;
  for (const Candidate& c : candidates_) whole += fixed_weight(c.z - z_max_);
  u64 wanted = static_cast<u64>(static_cast<f64>(top_p) * static_cast<f64>(whole));
  u64 reached = 0;
  std::size_t sorted = 0;
  for (std::size_t piece = 64; sorted < candidates_.size(); piece *= 4) {
    std::size_t end = std::min(sorted + piece, candidates_.size());
    sort_next(sorted, end);
    for (; sorted < end; ++sorted) {
      reached += fixed_weight(candidates_[sorted].z - z_max_);
      if (reached < wanted) continue;
      candidates_.resize(sorted + 1);
      return;
    }
  }
}

// Brings the most likely of candidates_[begin..] to [begin, end), in order.
void Sampler::sort_next(std::size_t begin, std::size_t end) {
  auto at = [&](std::size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (end < candidates_.size()) {
    std::nth_element(at(begin), at(end), candidates_.end(), MoreLikely());
  }
  std::sort(at(begin), at(end), MoreLikely());
}

void Sampler::keep_min_p(f32 min_p) {
  if (min_p <= 0.0f) return;
  u64 least = static_cast<u64>(static_cast<f64>(min_p) * kFixedPointOne);
  std::erase_if(candidates_,
                [&](const Candidate& c) { return fixed_weight(c.z - z_max_) < least; });
}

// Gumbel-max: the highest z + g wins, ties to the lowest id; g depends on seed, position and id
// only. Most candidates are so far behind the best that their random word alone rules them out.
i32 Sampler::draw(u64 seed, u64 position, i32 top) const {
  i32 best = top;
  f64 best_value = z_max_ + gumbel(random_word(seed, position, top));
  for (const Candidate& c : candidates_) {
    f64 deficit = best_value - c.z;
    if (deficit > kGumbelMax) continue;
    u32 word = random_word(seed, position, c.id);
    if (deficit >= 1 && word < least_words_[static_cast<std::size_t>(deficit)]) continue;
    f64 value = c.z + gumbel(word);
    if (value < best_value || (value == best_value && c.id >= best)) continue;
    best = c.id;
    best_value = value;
  }
  return best;
}

LogprobReader::LogprobReader(i64 vocabulary) {
  order_.reserve(static_cast<std::size_t>(vocabulary));
}

void LogprobReader::read(std::span<const f32> logits) {
  logits_ = logits;
  f64 highest = *std::ranges::max_element(logits);
  f64 sum = 0;
  for (f32 logit : logits) sum += std::exp(static_cast<f64>(logit) - highest);
  log_sum_ = highest + std::log(sum);
}

f32 LogprobReader::of(i32 token) const {
  return static_cast<f32>(static_cast<f64>(logits_[token]) - log_sum_);
}

void LogprobReader::top(i64 n, std::vector<std::pair<i32, f32>>& out) {
  if (n <= 0) return;
  order_.clear();
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] != -std::numeric_limits<f32>::infinity()) order_.push_back(static_cast<i32>(i));
  }
  n = std::min(n, static_cast<i64>(order_.size()));
  std::partial_sort(order_.begin(), order_.begin() + n, order_.end(), [&](i32 a, i32 b) {
    return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
  });
  for (i64 i = 0; i < n; ++i) out.emplace_back(order_[i], of(order_[i]));
}

}  // namespace tg::engine
