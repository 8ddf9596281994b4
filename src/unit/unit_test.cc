// The standard's published checks, closed forms against brute force, and attribution that sums to
// the whole.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "unit/actual.h"
#include "unit/nominal.h"

namespace tg::unit {
namespace {

// unit/ may not include env/, so the tests bring their own small generator.
class SeededRandom {
 public:
  explicit SeededRandom(u64 seed) : engine_(seed) {}
  u64 below(u64 bound) { return engine_() % bound; }

 private:
  std::mt19937_64 engine_;
};

struct DenseShape {
  u64 layers, d, heads, kv_heads, head, ffn, vocab;
  i64 window = 0;  // Of every second layer.
};

// The cost matrix of a dense 16-bit decoder, written down from the formulas of the standard.
CostMatrix dense(const DenseShape& s) {
  CostMatrix m;
  u64 attention_params = s.d * s.heads * s.head * 2 + s.d * s.kv_heads * s.head * 2;
  u64 params = s.layers * (attention_params + 3 * s.d * s.ffn);
  m.per_token[kMmF16] = 2 * params;
  m.per_token[kKvWr] = s.layers * s.kv_heads * s.head * 4;
  m.per_pass[kWBytes] = 2 * params;
  m.per_row[kMmF16] = 2 * s.d * s.vocab;
  m.head_bytes = 2 * s.d * s.vocab;
  auto class_of = [&](i64 window, u64 layers) {
    return WindowCost{window, layers * 2 * s.heads * s.head * 2, 0,
                      layers * s.kv_heads * s.head * 4};
  };
  if (s.window == 0) {
    m.windows = {class_of(0, s.layers)};
  } else {
    m.windows = {class_of(s.window, s.layers / 2), class_of(0, s.layers - s.layers / 2)};
  }
  return m;
}

constexpr DenseShape kReference{32, 4096, 32, 8, 128, 14336, 32000};
constexpr DenseShape kLlama8b{32, 4096, 32, 8, 128, 14336, 128256};
constexpr DenseShape kGemma9b{42, 3584, 16, 8, 256, 14336, 256000, 4096};

f64 st(const DenseShape& shape, i64 prompt, i64 cached, i64 output) {
  std::vector<i64> outputs{output};
  Result<NominalWork> work =
      nominal_work(dense(shape), {.prompt = prompt, .cached = cached, .outputs = outputs});
  return static_cast<f64>(work.value().total.value) / 1e9;
}

TEST(StandardToken, PublishedChecks) {
  // ST11. One decode token at c = 2,047 is the unit itself: the second of two outputs after a
  // prompt of 2,047.
  EXPECT_NEAR(st(kReference, 2047, 0, 2) - st(kReference, 2047, 0, 1), 1.0, 1e-6);
  EXPECT_NEAR(st(kReference, 2048, 0, 1) / 2048, 0.1008, 5e-5);
  EXPECT_NEAR(st(kLlama8b, 1000, 0, 500) / 548.6751, 1.0, 1e-6);
  EXPECT_NEAR(st(kLlama8b, 1000, 512, 500) / 498.4683, 1.0, 1e-6);
  EXPECT_NEAR(st(kGemma9b, 6000, 0, 100) / 1081.9707, 1.0, 1e-6);
}

TEST(Nominal, IsTheSumOfItsPasses) {
  // ST2: additive over passes. Evaluate every pass by itself with rational shares and compare.
  CostMatrix m = dense({4, 64, 4, 2, 16, 128, 300, 100});
  SeededRandom random(7);
  for (int i = 0; i < 200; ++i) {
    i64 prompt = 1 + static_cast<i64>(random.below(5000));
    i64 cached = static_cast<i64>(random.below(static_cast<u64>(prompt)));
    i64 output = 1 + static_cast<i64>(random.below(300));
    f64 sum = 0;
    auto add_pass = [&](i64 c, i64 n, i64 rows, f64 share) {
      SequenceStep step{c, n, rows};
      f64 own = static_cast<f64>(atto_st(evaluate_own(m, step).value()).value());
      f64 bytes = static_cast<f64>(m.per_pass[kWBytes]) * static_cast<f64>(n) / share +
                  static_cast<f64>(m.head_bytes) * static_cast<f64>(rows) / share;
      sum += own + bytes * static_cast<f64>(kWeightsAttoSt[kWBytes]);
    };
    for (i64 c = cached; c < prompt; c += kPrefillChunk) {
      i64 n = std::min(kPrefillChunk, prompt - c);
      add_pass(c, n, c + n == prompt ? 1 : 0, 2048);
    }
    for (i64 k = 0; k + 1 < output; ++k) add_pass(prompt + k, 1, 1, 32);
    std::vector<i64> outputs{output};
    NominalWork work =
        nominal_work(m, {.prompt = prompt, .cached = cached, .outputs = outputs}).value();
    EXPECT_NEAR(static_cast<f64>(work.total.value), sum / 1e9, 1.0);
    EXPECT_EQ(work.input.value + work.output.value, work.total.value);
  }
}

TEST(Nominal, ChoicesShareOnePrefill) {
  CostMatrix m = dense(kLlama8b);
  std::vector<i64> one{100};
  std::vector<i64> three{100, 100, 100};
  NominalWork a = nominal_work(m, {.prompt = 500, .outputs = one}).value();
  NominalWork b = nominal_work(m, {.prompt = 500, .outputs = three}).value();
  EXPECT_EQ(a.input, b.input);
  EXPECT_NEAR(static_cast<f64>(b.output.value), 3.0 * static_cast<f64>(a.output.value), 2);
}

TEST(Nominal, RejectsImpossibleRequests) {
  CostMatrix m = dense(kLlama8b);
  std::vector<i64> negative{-1};
  std::vector<i64> one{1};
  EXPECT_FALSE(nominal_work(m, {.prompt = 10, .cached = 11, .outputs = one}).ok());
  EXPECT_FALSE(nominal_work(m, {.prompt = -1, .outputs = one}).ok());
  EXPECT_FALSE(nominal_work(m, {.prompt = 10, .outputs = negative}).ok());
  EXPECT_FALSE(nominal_work(m, {.prompt = 10, .outputs = one, .embedding = true}).ok());
  EXPECT_EQ(nominal_work(m, {.prompt = kTokensMax, .outputs = one}).error().code, Code::kLimit);
}

TEST(Pairs, ClosedFormsEqualBruteForce) {
  SeededRandom random(1);
  for (int i = 0; i < 3000; ++i) {
    i64 c = static_cast<i64>(random.below(60));
    i64 n = static_cast<i64>(random.below(40));
    i64 w = static_cast<i64>(random.below(50));
    i64 pairs = 0;
    i64 first_key = c + n;
    for (i64 q = c; q < c + n; ++q) {
      i64 from = w == 0 ? 0 : std::max<i64>(0, q - w + 1);
      pairs += q - from + 1;
      first_key = std::min(first_key, from);
    }
    EXPECT_EQ(static_cast<i64>(attended_pairs(c, n, w)), pairs) << c << " " << n << " " << w;
    EXPECT_EQ(distinct_keys(c, n, w), c + n - first_key) << c << " " << n << " " << w;
  }
}

TEST(Experts, ExpectedHits) {
  for (auto [e, k, s] :
       {std::array<int, 3>{8, 2, 32}, {128, 8, 32}, {256, 8, 2048}, {64, 6, 1}, {4, 4, 3}}) {
    f64 want = e * (1 - std::pow(1 - static_cast<f64>(k) / e, s));
    f64 got = static_cast<f64>(expected_experts_q20(static_cast<u32>(e), static_cast<u32>(k), s)) /
              (1 << 20);
    EXPECT_NEAR(got, want, 1e-6);
  }
}

TEST(Actual, SharesSumToTheStep) {
  CostMatrix m = dense({4, 64, 4, 2, 16, 128, 300, 100});
  m.experts = {{8, 2, 3, 1000}};
  SeededRandom random(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<SequenceStep> steps(1 + random.below(20));
    for (SequenceStep& s : steps) {
      s = {static_cast<i64>(random.below(3000)), 1 + static_cast<i64>(random.below(100)),
           static_cast<i64>(random.below(2))};
    }
    std::vector<u64> hits{random.below(24)};
    std::vector<StepShare> shares(steps.size());
    i64 wall = static_cast<i64>(random.below(1'000'000'000));
    ASSERT_TRUE(attribute_step(m, steps, hits, wall, shares).ok());
    u128 atto = 0;
    i64 ns = 0;
    for (const StepShare& share : shares) {
      atto += share.atto_st;
      ns += share.wall_ns;
    }
    EXPECT_TRUE(atto == atto_st(evaluate(m, steps, hits).value()).value());
    EXPECT_EQ(ns, wall);
  }
}

TEST(StandardToken, PrintsNineDecimals) {
  EXPECT_EQ(to_decimal(NanoSt(548'675'100'000)), "548.675100000");
  EXPECT_EQ(to_decimal(NanoSt(-1)), "-0.000000001");
}

}  // namespace
}  // namespace tg::unit
