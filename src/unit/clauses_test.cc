// One test or more for each clause of spec/standard-token.md, named by it; the last test reads the
// clauses from the text and fails where none is named.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "unit/actual.h"
#include "unit/efficiency.h"
#include "unit/nominal.h"
#include "unit/vendor_token.h"

namespace tg::unit {
namespace {

// TG-R1 of ST1 from its shape: what its layers multiply, in 16 bits.
constexpr u64 kBodyParameters = u64{32} * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336);
constexpr u64 kHeadParameters = u64{4096} * 32000;

CostMatrix reference_model() {
  CostMatrix m;
  m.per_token[kMmF16] = 2 * kBodyParameters;
  m.per_token[kKvWr] = u64{32} * 8 * 128 * 2 * 2;
  m.per_row[kMmF16] = 2 * kHeadParameters;
  m.per_pass[kWBytes] = 2 * kBodyParameters;
  m.head_bytes = 2 * kHeadParameters;
  m.windows = {{.window = 0,
                .attn_flops_per_pair = u64{32} * 2 * 32 * 2 * 128,
                .kv_rd_bytes_per_key = u64{32} * 8 * 128 * 2 * 2}};
  return m;
}

NominalWork work_of(const CostMatrix& m, i64 prompt, i64 cached, std::vector<i64> outputs) {
  return nominal_work(m, {.prompt = prompt, .cached = cached, .outputs = outputs}).value();
}

// A matrix with one entry.
CostMatrix only(Counters CostMatrix::*group, Counter counter, u64 value) {
  CostMatrix m;
  (m.*group)[counter] = value;
  return m;
}

TEST(Clause, ST1_TheReferenceModelsTokenIsTheUnit) {
  CostMatrix m = reference_model();
  i64 two = work_of(m, 2047, 0, {2}).total.value;
  i64 one = work_of(m, 2047, 0, {1}).total.value;
  EXPECT_NEAR(static_cast<f64>(two - one), 1e9, 1e3);
}

TEST(Clause, ST2_PartsAddUpHoweverTheyAreDivided) {
  CostMatrix m = reference_model();
  // A step's counters are the sum of its sequences' own and one reading of the weights.
  std::vector<SequenceStep> steps = {{100, 1, 1}, {0, 700, 0}, {5000, 3, 1}};
  Counters sum = m.per_pass;
  for (const SequenceStep& s : steps) ASSERT_TRUE(add_scaled(sum, evaluate_own(m, s).value(), 1));
  sum[kWBytes] += m.head_bytes;
  EXPECT_EQ(evaluate(m, steps, {}).value(), sum);
  // Two requests of one prompt each are one request with two choices, but for the second prefill.
  NominalWork one = work_of(m, 777, 0, {50});
  NominalWork two = work_of(m, 777, 0, {50, 50});
  EXPECT_NEAR(static_cast<f64>(2 * one.total.value - two.total.value),
              static_cast<f64>(one.input.value), 2);
}

TEST(Clause, ST3_OnlyOrderedComputeAndBytesArePriced) {
  const std::set<Counter> priced = {kMmF32, kMmF16,  kMmFp8, kMmInt8, kMm4Bit,
                                    kAttn,  kWBytes, kKvRd,  kKvWr,   kState};
  for (u8 i = 0; i < kCounters; ++i) {
    Counter counter = static_cast<Counter>(i);
    EXPECT_EQ(kWeightsAttoSt[counter] != 0, priced.contains(counter)) << counter_name(counter);
    CostMatrix m = only(&CostMatrix::per_token, counter, 1'000'000'000);
    EXPECT_EQ(work_of(m, 10, 0, {1}).total.value != 0, priced.contains(counter));
  }
}

TEST(Clause, ST4_PairsAndKeysOfWindows) {
  EXPECT_TRUE(attended_pairs(0, 5, 0) == 15);
  EXPECT_TRUE(attended_pairs(10, 3, 0) == 11 + 12 + 13);
  EXPECT_TRUE(attended_pairs(2, 4, 4) == 3 + 4 + 4 + 4);
  EXPECT_EQ(distinct_keys(10, 3, 0), 13);
  EXPECT_EQ(distinct_keys(10, 3, 4), 6);
  EXPECT_EQ(distinct_keys(1, 3, 4), 4);
}

// ST5 by passes: per_sequence counts them.
i64 passes(i64 prompt, i64 cached, std::vector<i64> outputs) {
  CostMatrix m = only(&CostMatrix::per_sequence, kState, 1'000'000'000);
  i64 each = static_cast<i64>(kWeightsAttoSt[kState]);
  return work_of(m, prompt, cached, std::move(outputs)).total.value / each;
}

TEST(Clause, ST5_ChunksOf2048ThenOneTokenAtATime) {
  EXPECT_EQ(passes(1, 0, {0}), 1);
  EXPECT_EQ(passes(2048, 0, {1}), 1);
  EXPECT_EQ(passes(2049, 0, {1}), 2);
  EXPECT_EQ(passes(4096, 2047, {1}), 2);
  EXPECT_EQ(passes(100, 100, {10}), 9);
  EXPECT_EQ(passes(5000, 0, {3, 1, 0}), 3 + 2);
  // A row for the last chunk and each decode pass; none in an embedding.
  CostMatrix rows = only(&CostMatrix::per_row, kMmF16, 1'000'000'000);
  EXPECT_EQ(work_of(rows, 5000, 0, {4}).total.value, 4 * 6'333'613);
  EXPECT_EQ(nominal_work(rows, {.prompt = 5000, .embedding = true})->total.value, 0);
}

TEST(Clause, ST6_TokensBearTheirShareOfTheWeights) {
  CostMatrix body = only(&CostMatrix::per_pass, kWBytes, u64{2048} * 1'000'000'000);
  EXPECT_EQ(work_of(body, 3, 0, {1}).total.value, i64{3} * 1'266'722'652);
  EXPECT_EQ(work_of(body, 3, 3, {2}).total.value, i64{2048} / 32 * 1'266'722'652);
  CostMatrix head;
  head.head_bytes = u64{2048} * 1'000'000'000;
  EXPECT_EQ(work_of(head, 3000, 0, {1}).total.value, 1'266'722'652);
  EXPECT_EQ(work_of(head, 3000, 3000, {3}).total.value, 2 * i64{2048} / 32 * 1'266'722'652);
}

TEST(Clause, ST7_ExpectedExperts) {
  EXPECT_EQ(expected_experts_q20(8, 2, 1), u64{2} << 20);
  EXPECT_EQ(expected_experts_q20(8, 8, 32), u64{8} << 20);
  EXPECT_EQ(expected_experts_q20(4, 2, 3), (u64{4} << 20) - (u64{4} << 20) / 8);
  // 128 (1 - (15/16)^32) = 111.7713..., rounded to 2^-20.
  EXPECT_EQ(expected_experts_q20(128, 8, 32), 117'200'425u);
}

TEST(Clause, ST8_WeightsAreTheseIntegers) {
  EXPECT_EQ(kWeightsAttoSt[kMmF32], 25'334'453u);
  for (Counter c : {kMmF16, kAttn}) EXPECT_EQ(kWeightsAttoSt[c], 6'333'613u);
  for (Counter c : {kMmFp8, kMmInt8, kMm4Bit}) EXPECT_EQ(kWeightsAttoSt[c], 3'166'807u);
  for (Counter c : {kWBytes, kKvRd, kKvWr, kState}) EXPECT_EQ(kWeightsAttoSt[c], 1'266'722'652u);
}

TEST(Clause, ST9_OneRoundingHalfToEven) {
  EXPECT_EQ(round_to_nano(500'000'000).value().value, 0);
  EXPECT_EQ(round_to_nano(500'000'001).value().value, 1);
  EXPECT_EQ(round_to_nano(1'500'000'000).value().value, 2);
  EXPECT_EQ(round_to_nano(2'500'000'000).value().value, 2);
  EXPECT_FALSE(round_to_nano(u128{1} << 100).ok());
  std::mt19937_64 random(5);
  CostMatrix m = reference_model();
  for (int i = 0; i < 100; ++i) {
    NominalWork w = work_of(m, static_cast<i64>(random() % 9000), 0,
                            {static_cast<i64>(random() % 99), static_cast<i64>(random() % 99)});
    EXPECT_EQ(w.input.value + w.output.value, w.total.value);
  }
  m.per_token[kMmF16] = ~u64{0};
  EXPECT_EQ(nominal_work(m, {.prompt = kTokensMax}).error().code, Code::kLimit);
}

TEST(Clause, ST10_SharesOfAStepSumToIt) {
  CostMatrix m = reference_model();
  std::vector<SequenceStep> steps = {{2047, 1, 1}, {0, 3, 0}, {17, 7, 2}};
  std::vector<StepShare> shares(steps.size());
  ASSERT_TRUE(attribute_step(m, steps, {}, 1'000'003, shares).ok());
  u128 atto = 0;
  i64 wall = 0;
  for (const StepShare& share : shares) {
    atto += share.atto_st;
    wall += share.wall_ns;
  }
  EXPECT_TRUE(atto == atto_st(evaluate(m, steps, {}).value()).value());
  EXPECT_EQ(wall, 1'000'003);
  // The weights' bytes go by tokens, the head's by rows: without rows none of the head.
  EXPECT_LT(shares[1].atto_st, 3 * shares[0].atto_st);
}

TEST(Clause, ST11_PublishedChecks) {
  f64 prefill = static_cast<f64>(work_of(reference_model(), 2048, 0, {1}).total.value) / 1e9;
  EXPECT_NEAR(prefill / 2048, 0.1008, 5e-5);
  // The others, and the unit itself: unit_test.cc, StandardToken.PublishedChecks.
}

TEST(Clause, ST12_YieldAndCostAreRatiosOfSums) {
  Efficiency a{.nominal_nano_st = 3, .actual_atto_st = 6'000'000'000, .spent = 10};
  Efficiency b{.nominal_nano_st = 1, .actual_atto_st = 0, .spent = 1};
  EXPECT_EQ(yield_of(a).value(), make_ratio(1, 2).value());
  Efficiency both = add(a, b).value();
  EXPECT_EQ(yield_of(both).value(), make_ratio(2, 3).value());
  EXPECT_EQ(cost_per_useful_token(both).value(), make_ratio(11'000'000'000, 4).value());
}

TEST(Clause, ST13_VendorTokensAreExactRatios) {
  CostMatrix m = reference_model();
  Ratio one = vendor_token(m, {.direction = Direction::kOutput, .context = 2047}).value();
  EXPECT_NEAR(static_cast<f64>(to_nano_st(1'000'000, one).value().value), 1e15, 1e9);
  NanoSt amount = to_nano_st(12'345, one).value();
  EXPECT_TRUE(to_vendor_tokens(amount, one).value() == 12'345);
}

// ST14, one query at a time.
struct Brute {
  i64 pairs = 0;
  std::set<i64> keys;
};

Brute brute(PairKind kind, i64 window, i64 c, i64 n) {
  Brute out;
  for (i64 q = c; q < c + n; ++q) {
    i64 visible = kind == PairKind::kFull ? c + n : q + 1;
    i64 seen = kind == PairKind::kSelected ? std::min(visible, window) : visible;
    out.pairs += seen;
  }
  for (i64 key = 0; n > 0 && key < c + n; ++key) out.keys.insert(key);
  return out;
}

// Pairs within the first n tokens of a prompt that see each other both ways.
i64 mutual(i64 n, i64 window) {
  i64 pairs = 0;
  for (i64 i = 0; i < n; ++i) {
    for (i64 j = 0; j < n; ++j) pairs += window == 0 || std::abs(i - j) < window;
  }
  return pairs;
}

TEST(Clause, ST14_OtherPairs) {
  std::mt19937_64 random(9);
  for (int i = 0; i < 2'000; ++i) {
    SequenceStep s{.cached = static_cast<i64>(random() % 30),
                   .fresh = static_cast<i64>(random() % 20)};
    i64 window = static_cast<i64>(random() % 25);
    Brute full = brute(PairKind::kFull, 0, s.cached, s.fresh);
    WindowCost cost{.window = 0, .kind = PairKind::kFull};
    EXPECT_TRUE(attended_pairs(cost, s) == static_cast<u128>(full.pairs));
    EXPECT_EQ(distinct_keys(cost, s), static_cast<i64>(full.keys.size()));
    Brute selected = brute(PairKind::kSelected, window + 1, s.cached, s.fresh);
    cost = {.window = window + 1, .kind = PairKind::kSelected};
    EXPECT_TRUE(attended_pairs(cost, s) == static_cast<u128>(selected.pairs));
    EXPECT_EQ(distinct_keys(cost, s),
              std::min(static_cast<i64>(selected.keys.size()), selected.pairs));
    cost = {.window = window, .kind = PairKind::kDense};
    i64 dense = mutual(s.cached + s.fresh, window) - mutual(s.cached, window);
    EXPECT_TRUE(attended_pairs(cost, s) == static_cast<u128>(dense));
    cost = {.window = 0, .kind = PairKind::kTree};
    EXPECT_TRUE(attended_pairs(cost, s) == attended_pairs(s.cached, s.fresh, 0));
    s.tree_pairs = 5;
    EXPECT_TRUE(attended_pairs(cost, s) == 5);
  }
}

TEST(Clause, ST14_ChunksOfADensePromptAddUp) {
  CostMatrix m;
  m.windows = {{.window = 0, .attn_flops_per_pair = 1'000'000'000, .kind = PairKind::kDense}};
  i64 n = 5000;
  EXPECT_EQ(nominal_work(m, {.prompt = n, .embedding = true})->total.value, n * n * 6'333'613);
}

TEST(Clause, ST15_StatesOncePerSequenceAndPass) {
  CostMatrix m = only(&CostMatrix::per_sequence, kState, 4096);
  std::vector<SequenceStep> steps = {{0, 2048, 0}, {5, 1, 1}};
  EXPECT_EQ(evaluate(m, steps, {}).value()[kState], 2u * 4096);
  EXPECT_EQ(passes(6000, 0, {100}), 3 + 99);
}

// "**ST4." or "**ST4. Pairs" opens a clause.
std::vector<std::string> clauses_of_the_standard() {
  std::ifstream file(TG_SOURCE_DIR "/spec/standard-token.md");
  std::vector<std::string> clauses;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("**ST")) clauses.push_back(line.substr(2, line.find('.') - 2));
  }
  return clauses;
}

TEST(Clause, EveryClauseHasATest) {
  std::set<std::string> named;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int k = 0; k < suite.total_test_count(); ++k) {
      std::string name = suite.GetTestInfo(k)->name();
      if (name.starts_with("ST")) named.insert(name.substr(0, name.find('_')));
    }
  }
  std::vector<std::string> clauses = clauses_of_the_standard();
  EXPECT_GE(clauses.size(), 15u);
  for (const std::string& clause : clauses) EXPECT_TRUE(named.contains(clause)) << clause;
}

}  // namespace
}  // namespace tg::unit
