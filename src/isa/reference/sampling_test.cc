// Sampling of one row: each filter by itself, their order, and the distribution of the draw.
#include "isa/reference/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tg::isa {
namespace {

constexpr f32 kGone = -std::numeric_limits<f32>::infinity();

SampleRow row_of(std::span<const f32> logits, const SamplingParams& params) {
  return {logits, params, {}, {}, {}, 0};
}

std::vector<bool> kept(std::span<const f32> logits, const SamplingParams& params) {
  std::vector<f32> scores = filter_logits(row_of(logits, params)).value();
  std::vector<bool> out;
  for (f32 score : scores) out.push_back(score != kGone);
  return out;
}

TEST(Sampling, GreedyTakesTheLowestOfTheHighest) {
  std::vector<f32> logits{1, 3, 2, 3};
  SamplingParams greedy{.temperature = 0.0f};
  EXPECT_EQ(sample_row(row_of(logits, greedy))->id, 1);
}

TEST(Sampling, TopKKeepsTheLowestIdOfATie) {
  std::vector<f32> logits{1, 2, 2, 2};
  EXPECT_EQ(kept(logits, {.top_k = 2}), (std::vector<bool>{false, true, true, false}));
  EXPECT_EQ(kept(logits, {.top_k = 0}), (std::vector<bool>{true, true, true, true}));
}

TEST(Sampling, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 1/2, 1/4, 1/8, 1/8.
  f32 ln2 = std::log(2.0f);
  std::vector<f32> logits{0, -ln2, -2 * ln2, -2 * ln2};
  EXPECT_EQ(kept(logits, {.top_p = 0.4f}), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(kept(logits, {.top_p = 0.7f}), (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(kept(logits, {.top_p = 0.8f}), (std::vector<bool>{true, true, true, false}));
  EXPECT_EQ(kept(logits, {.top_p = 0.0f}), (std::vector<bool>{true, false, false, false}));
  // After top-k the whole is what top-k left: 1/2 and 1/4 are 2/3 and 1/3.
  EXPECT_EQ(kept(logits, {.top_k = 2, .top_p = 0.6f}),
            (std::vector<bool>{true, false, false, false}));
}

TEST(Sampling, MinPIsRelativeToTheMostLikely) {
  f32 ln2 = std::log(2.0f);
  std::vector<f32> logits{0, -ln2, -2 * ln2, -5 * ln2};
  EXPECT_EQ(kept(logits, {.min_p = 0.2f}), (std::vector<bool>{true, true, true, false}));
  EXPECT_EQ(kept(logits, {.min_p = 0.3f}), (std::vector<bool>{true, true, false, false}));
}

TEST(Sampling, TemperatureComesBeforeTheFilters) {
  f32 ln2 = std::log(2.0f);
  std::vector<f32> logits{0, -ln2};
  EXPECT_EQ(kept(logits, {.min_p = 0.3f}), (std::vector<bool>{true, true}));
  EXPECT_EQ(kept(logits, {.temperature = 0.5f, .min_p = 0.3f}), (std::vector<bool>{true, false}));
}

TEST(Sampling, PenaltiesCountPromptAndOutputApart) {
  std::vector<f32> logits{2, -2, 4, 1};
  SamplingParams params{
      .repetition_penalty = 2.0f, .presence_penalty = 0.5f, .frequency_penalty = 0.25f};
  std::vector<i32> prompt{0, 1};
  std::vector<i32> output{2, 2};
  SampleRow row{logits, params, prompt, output, {}, 4};
  EXPECT_EQ(filter_logits(row).value(), (std::vector<f32>{1, -4, 4.0f / 2 - 0.5f - 0.25f * 2, 1}));
}

TEST(Sampling, BiasComesBeforePenalties) {
  std::vector<f32> logits{-1, 0};
  SamplingParams params{.repetition_penalty = 2.0f, .logit_bias = {{0, 3.0f}}};
  std::vector<i32> prompt{0};
  SampleRow row{logits, params, prompt, {}, {}, 1};
  EXPECT_EQ(filter_logits(row).value()[0], 1.0f);  // (-1 + 3) / 2, not -1 * 2 + 3
}

TEST(Sampling, MaskRemovesBeforeTopK) {
  std::vector<f32> logits{5, 4, 3, 2};
  SamplingParams params{.top_k = 1};
  std::vector<u64> allowed{0b1100};
  SampleRow row{logits, params, {}, {}, allowed, 0};
  EXPECT_EQ(filter_logits(row).value(), (std::vector<f32>{kGone, kGone, 3, kGone}));
  std::vector<u64> none{0};
  SampleRow nothing{logits, params, {}, {}, none, 0};
  EXPECT_FALSE(filter_logits(nothing).ok());
}

TEST(Sampling, BrokenLogitsAreAnError) {
  f32 nan = std::numeric_limits<f32>::quiet_NaN();
  std::vector<f32> broken{1, nan};
  EXPECT_FALSE(sample_row(row_of(broken, {})).ok());
  std::vector<f32> infinite{1, std::numeric_limits<f32>::infinity()};
  EXPECT_FALSE(sample_row(row_of(infinite, {})).ok());
  std::vector<f32> gone{kGone, kGone};
  EXPECT_FALSE(sample_row(row_of(gone, {})).ok());
}

TEST(Sampling, LogprobsAreOfTheModelsSoftmax) {
  std::vector<f32> logits{1, 2, 3};
  SamplingParams params{.temperature = 0.0f, .logprobs = 2, .logit_bias = {{0, 100.0f}}};
  SampledToken token = sample_row(row_of(logits, params)).value();
  EXPECT_EQ(token.id, 0);
  f64 sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  EXPECT_NEAR(token.logprob, 1 - std::log(sum), 1e-6);
  ASSERT_EQ(token.top.size(), 2u);
  EXPECT_EQ(token.top[0].first, 2);
  EXPECT_NEAR(token.top[1].second, 2 - std::log(sum), 1e-6);
}

TEST(Sampling, DrawsFollowTheSoftmax) {
  // Chi-square with 4 degrees of freedom over 40,000 positions: 18.5 is the 0.1 % point.
  std::vector<f32> logits{0.0f, 1.0f, -1.0f, 2.0f, 0.5f};
  SamplingParams params{.temperature = 0.7f, .seed = 42};
  f64 sum = 0;
  for (f32 l : logits) sum += std::exp(l / 0.7);
  std::vector<i64> seen(5, 0);
  constexpr i64 kDraws = 40'000;
  for (u64 position = 0; position < kDraws; ++position) {
    SampleRow row{logits, params, {}, {}, {}, position};
    ++seen[static_cast<std::size_t>(sample_row(row)->id)];
  }
  f64 chi = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    f64 expected = kDraws * std::exp(logits[i] / 0.7) / sum;
    f64 d = static_cast<f64>(seen[i]) - expected;
    chi += d * d / expected;
  }
  EXPECT_LT(chi, 18.5);
}

TEST(Sampling, DrawDependsOnSeedAndPositionOnly) {
  std::vector<f32> logits(50, 0.0f);
  auto draw = [&](u64 seed, u64 position) {
    SamplingParams params{.seed = seed};
    SampleRow row{logits, params, {}, {}, {}, position};
    return sample_row(row)->id;
  };
  EXPECT_EQ(draw(1, 7), draw(1, 7));
  int same_position = 0;
  int same_seed = 0;
  for (u64 i = 0; i < 50; ++i) {
    same_position += draw(1, i) == draw(2, i);
    same_seed += draw(1, i) == draw(1, i + 1);
  }
  EXPECT_LT(same_position, 10);
  EXPECT_LT(same_seed, 10);
}

TEST(Probabilities, AreWhatDrawsFollow) {
  const f32 kOff = -std::numeric_limits<f32>::infinity();
  std::vector<f32> scores{0.5f, kOff, 2, 1};
  std::vector<i64> seen(4);
  std::vector<f64> p;
  constexpr i64 kDraws = 40'000;
  for (i64 seed = 0; seed < kDraws; ++seed) {
    SamplingParams params{.temperature = 0.5f, .seed = static_cast<u64>(seed)};
    p = token_probabilities(scores, params);
    ++seen[static_cast<std::size_t>(draw_token(scores, params, 3))];
  }
  EXPECT_NEAR(p[2], 1 / (1 + std::exp(-2.0) + std::exp(-3.0)), 1e-12);
  EXPECT_NEAR(p[0] + p[2] + p[3], 1, 1e-12);
  f64 chi_square = 0;
  for (std::size_t i : {0u, 2u, 3u}) {
    f64 expected = p[i] * kDraws;
    chi_square +=
        (static_cast<f64>(seen[i]) - expected) * (static_cast<f64>(seen[i]) - expected) / expected;
  }
  EXPECT_LT(chi_square, 18.4);  // once in 10,000 for two degrees of freedom
  EXPECT_EQ(seen[1], 0);
  EXPECT_EQ(p[1], 0);
  std::vector<f64> greedy = token_probabilities(std::vector<f32>{1, 2, 2}, {.temperature = 0.0f});
  EXPECT_EQ(greedy, (std::vector<f64>{0, 1, 0}));
}

TEST(Probabilities, UsesOfARowAreIndependent) {
  f64 sums[3] = {};
  f64 products[3] = {};
  constexpr i64 kDraws = 20'000;
  for (i64 seed = 0; seed < kDraws; ++seed) {
    SamplingParams params{.seed = static_cast<u64>(seed)};
    f64 u[3];
    for (u32 use = 0; use < 3; ++use) {
      u[use] = uniform_draw(params, 5, 2, static_cast<Draw>(use));
      EXPECT_GT(u[use], 0);
      EXPECT_LT(u[use], 1);
      sums[use] += u[use];
    }
    for (std::size_t i = 0; i < 3; ++i) products[i] += u[i] * u[(i + 1) % 3];
  }
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(sums[i] / kDraws, 0.5, 0.01);
    EXPECT_NEAR(products[i] / kDraws, 0.25, 0.01);
  }
}

}  // namespace
}  // namespace tg::isa
