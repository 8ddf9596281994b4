// The fast sampler against the reference of isa/, its distribution against the softmax, and its
// independence of everything but its own row.
#include "engine/sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "env/random.h"
#include "isa/reference/sampling.h"

namespace tg::engine {
namespace {

std::vector<f32> random_logits(SeededRandom& random, std::size_t count, f64 scale) {
  std::vector<f32> logits(count);
  for (f32& logit : logits) {
    // A sum of uniforms is near enough to normal; rounding makes ties.
    f64 sum = random.uniform() + random.uniform() + random.uniform() - 1.5;
    logit = static_cast<f32>(std::round(sum * scale * 64) / 64);
  }
  return logits;
}

i32 sample(std::span<const f32> logits, const isa::SamplingParams& params,
           std::span<const i32> tokens = {}, i64 prompt_tokens = 0) {
  Sampler sampler(static_cast<i64>(logits.size()));
  Result<i32> token = sampler.sample(
      {.logits = logits, .params = params, .tokens = tokens, .prompt_tokens = prompt_tokens});
  return token.ok() ? *token : -1;
}

TEST(Sampler, EqualsTheReferenceOnRandomRows) {
  SeededRandom random(5);
  for (i64 round = 0; round < 3'000; ++round) {
    std::size_t vocabulary = 1 + random.below(round % 50 == 0 ? 3'000 : 300);
    std::vector<f32> logits = random_logits(random, vocabulary, random.uniform() * 40);
    std::vector<i32> tokens;
    for (u64 n = random.below(60); n > 0; --n) {
      tokens.push_back(static_cast<i32>(random.below(vocabulary)));
    }
    isa::SamplingParams params;
    params.seed = random.next();
    params.temperature = static_cast<f32>(random.below(6) == 0 ? 0 : random.uniform() * 3 + 0.01);
    if (random.below(3) == 0) params.top_k = static_cast<i32>(1 + random.below(400));
    if (random.below(2) == 0) params.top_p = static_cast<f32>(random.uniform());
    if (random.below(3) == 0) params.min_p = static_cast<f32>(random.uniform() * 0.3);
    if (random.below(3) == 0) params.repetition_penalty = static_cast<f32>(random.uniform() + 0.5);
    if (random.below(3) == 0) params.presence_penalty = static_cast<f32>(random.uniform());
    if (random.below(3) == 0) params.frequency_penalty = static_cast<f32>(random.uniform() - 0.5);
    if (random.below(4) == 0) params.logit_bias = {{0, 2.0f}, {0, -1.0f}};
    params.logprobs = static_cast<i32>(random.below(6));
    // A model may rule tokens out by itself.
    if (round % 7 == 0) logits[random.below(vocabulary)] = -std::numeric_limits<f32>::infinity();
    std::size_t prompt_tokens = random.below(tokens.size() + 1);
    std::span<const i32> all = tokens;
    Result<isa::SampledToken> expected = isa::sample_row({.logits = logits,
                                                          .params = params,
                                                          .prompt = all.first(prompt_tokens),
                                                          .output = all.subspan(prompt_tokens),
                                                          .allowed = {},
                                                          .position = tokens.size()});
    i32 token = sample(logits, params, tokens, static_cast<i64>(prompt_tokens));
    ASSERT_EQ(token, expected.ok() ? expected->id : -1) << "round " << round;
    if (!expected.ok()) continue;
    LogprobReader reader(static_cast<i64>(vocabulary));
    reader.read(logits);
    std::vector<std::pair<i32, f32>> top;
    reader.top(params.logprobs, top);
    ASSERT_EQ(reader.of(token), expected->logprob) << "round " << round;
    ASSERT_EQ(top, expected->top) << "round " << round;
  }
}

TEST(Sampler, GreedyTakesTheHighestAndOfEqualsTheLowestId) {
  isa::SamplingParams greedy{.temperature = 0};
  EXPECT_EQ(sample(std::vector<f32>{1, 3, 2, 3}, greedy), 1);
  EXPECT_EQ(sample(std::vector<f32>{-5, -5, -5}, greedy), 0);
}

TEST(Sampler, BiasAndPenalties) {
  struct Row {
    const char* what;
    isa::SamplingParams params;
    std::vector<i32> tokens;
    i64 prompt;
    i32 expected;
  };
  const std::vector<f32> logits = {4, 3.9f, 1, -1};
  const Row table[] = {
      {"bias", {.temperature = 0, .logit_bias = {{3, 6.0f}}}, {}, 0, 3},
      {"repetition divides a positive", {.temperature = 0, .repetition_penalty = 2}, {0}, 1, 1},
      {"presence ignores the prompt", {.temperature = 0, .presence_penalty = 1}, {0}, 1, 0},
      {"presence of output", {.temperature = 0, .presence_penalty = 1}, {0}, 0, 1},
      {"presence counts once", {.temperature = 0, .presence_penalty = 1}, {0, 0, 0, 1}, 0, 0},
      {"frequency counts each", {.temperature = 0, .frequency_penalty = 1}, {0, 0, 0, 1}, 0, 1},
      {"negative penalty rewards", {.temperature = 0, .frequency_penalty = -3}, {3, 3}, 0, 3},
      {"repetition once per token",
       {.temperature = 0, .repetition_penalty = 1.01f},
       {0, 0, 0, 0},
       2,
       0},
  };
  for (const Row& row : table) {
    EXPECT_EQ(sample(logits, row.params, row.tokens, row.prompt), row.expected) << row.what;
  }
}

TEST(Sampler, TopKTopPAndMinPKeepExactlyTheirSets) {
  // Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625.
  std::vector<f32> logits;
  for (f64 p : {0.0625, 0.5, 0.125, 0.25, 0.0625}) logits.push_back(static_cast<f32>(std::log(p)));
  struct Row {
    isa::SamplingParams params;
    std::vector<i32> kept;
  };
  const Row table[] = {
      {{.top_k = 1}, {1}},
      {{.top_k = 2}, {1, 3}},
      {{.top_k = 4}, {0, 1, 2, 3}},
      {{.top_k = 9}, {0, 1, 2, 3, 4}},
      {{.top_p = 0.0f}, {1}},
      {{.top_p = 0.49f}, {1}},
      {{.top_p = 0.51f}, {1, 3}},
      {{.top_p = 0.76f}, {1, 2, 3}},
      {{.top_p = 0.9f}, {0, 1, 2, 3}},
      {{.min_p = 0.4f}, {1, 3}},
      {{.min_p = 0.2f}, {1, 2, 3}},
      {{.min_p = 1.0f}, {1}},
      {{.top_k = 2, .top_p = 0.6f}, {1}},  // Of the two that top-k leaves, 0.5 is two thirds.
  };
  for (const Row& row : table) {
    std::vector<i32> seen;
    for (u64 seed = 0; seed < 600; ++seed) {
      isa::SamplingParams params = row.params;
      params.seed = seed;
      seen.push_back(sample(logits, params));
    }
    std::ranges::sort(seen);
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    EXPECT_EQ(seen, row.kept);
  }
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  std::vector<f32> logits = {1.0f, 0.0f, 2.0f, -1.0f};
  constexpr i64 kDraws = 40'000;
  for (f32 temperature : {0.7f, 1.0f, 3.0f}) {
    std::vector<f64> expected;
    f64 sum = 0;
    for (f32 logit : logits) expected.push_back(std::exp(static_cast<f64>(logit) / temperature));
    for (f64 e : expected) sum += e;
    std::vector<i64> counts(logits.size());
    std::vector<i32> tokens;
    isa::SamplingParams params{.temperature = temperature, .seed = 42};
    Sampler sampler(4);
    for (i64 i = 0; i < kDraws; ++i) {
      tokens.push_back(0);  // Only the position changes from draw to draw.
      ++counts[*sampler.sample({.logits = logits, .params = params, .tokens = tokens})];
    }
    for (std::size_t i = 0; i < counts.size(); ++i) {
      f64 p = expected[i] / sum;
      f64 sigma = std::sqrt(p * (1 - p) * kDraws);
      EXPECT_NEAR(static_cast<f64>(counts[i]), p * kDraws, 4.5 * sigma);
    }
  }
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  constexpr f32 kNan = std::numeric_limits<f32>::quiet_NaN();
  constexpr f32 kInf = std::numeric_limits<f32>::infinity();
  for (f32 temperature : {0.0f, 1.0f}) {
    isa::SamplingParams params{.temperature = temperature};
    EXPECT_EQ(sample(std::vector<f32>{1, kNan, 2}, params), -1);
    EXPECT_EQ(sample(std::vector<f32>{1, kInf, 2}, params), -1);
    EXPECT_EQ(sample(std::vector<f32>{-kInf, -kInf}, params), -1);
    EXPECT_EQ(sample(std::vector<f32>{-kInf, 1}, params), 1);
  }
}

TEST(Sampler, ExtremeTemperaturesStayDefined) {
  std::vector<f32> logits = {1e30f, -1e30f, 9e29f};
  for (f32 temperature : {1e-45f, 1e-20f, 1.0f}) {
    EXPECT_EQ(sample(logits, {.temperature = temperature, .seed = 3}), 0);
  }
  EXPECT_GE(sample(std::vector<f32>{1, 2, 3}, {.temperature = 1e6f}), 0);
}

TEST(Logprobs, AreTheLogSoftmax) {
  std::vector<f32> logits = {1.0f, 3.0f, 3.0f, -2.0f};
  LogprobReader reader(4);
  reader.read(logits);
  f64 sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(-2.0);
  EXPECT_FLOAT_EQ(reader.of(0), static_cast<f32>(1.0 - std::log(sum)));
  std::vector<std::pair<i32, f32>> top;
  reader.top(3, top);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].first, 1);
  EXPECT_EQ(top[1].first, 2);
  EXPECT_EQ(top[2].first, 0);
  top.clear();
  reader.top(9, top);
  EXPECT_EQ(top.size(), 4u);
}

}  // namespace
}  // namespace tg::engine
