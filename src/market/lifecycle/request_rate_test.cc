#include "market/lifecycle/request_rate.h"

#include <gtest/gtest.h>

#include "env/random.h"
#include "env/seed_testing.h"
#include "unit/nominal.h"

namespace tg::market {
namespace {

unit::CostMatrix matrix() {
  unit::CostMatrix m;
  m.per_token[unit::kMmF16] = 900'000'000;
  m.per_token[unit::kKvWr] = 40'960;
  m.per_pass[unit::kWBytes] = 900'000'000;
  m.head_bytes = 100'000'000;
  m.windows = {unit::WindowCost{0, 81'920, 0, 20'480}, unit::WindowCost{64, 81'920, 0, 20'480}};
  return m;
}

PriceVector random_prices(SeededRandom& random) {
  PriceVector prices;
  for (std::size_t i = 0; i < kTokenClasses; ++i)
    prices.values[i] = static_cast<i64>(random.below(30'000'000));
  prices[RatedClass::kWork] = static_cast<i64>(random.below(2'000'000'000'000'000));
  return prices;
}

// I-16: what a hold reserves for n tokens covers every way in which the capture may read them, and
// more tokens never cost less, so that an edge found by bisection is the edge.
TEST(RequestRate, I16HoldsCoverEveryCapture) {
  unit::CostMatrix cost = matrix();
  for (u64 seed = first_seed(); seed < first_seed() + 300; ++seed) {
    SeededRandom random(seed);
    i64 prompt = static_cast<i64>(random.below(500));
    Result<RequestRate> made = RequestRate::make(&cost, random_prices(random), prompt, 300);
    ASSERT_TRUE(made.ok());
    const RequestRate& rate = *made;
    i64 before = 0;
    for (i64 n = 0; n <= 300; n += 1 + static_cast<i64>(random.below(40))) {
      ASSERT_GE(rate.most(n), before) << seed;
      before = rate.most(n);
      InputReading input{.prompt = prompt};
      input.cached = static_cast<i64>(random.below(static_cast<u64>(prompt) + 1));
      input.written = static_cast<i64>(random.below(static_cast<u64>(prompt - input.cached) + 1));
      OutputReading output{.reasoning = static_cast<i64>(random.below(static_cast<u64>(n) + 1))};
      output.output = n - output.reasoning;
      i64 charge = rate.charge(input, output);
      ASSERT_LE(charge, rate.most(n)) << seed;
      ASSERT_LE(rate.output_charge(input, output), charge) << seed;
      i64 edge = rate.tokens_within(rate.most(n));
      ASSERT_GE(edge, n);
      ASSERT_TRUE(edge == 300 || rate.most(edge + 1) > rate.most(n));
    }
    ASSERT_EQ(rate.tokens_within(rate.most(0) - 1), -1);
  }
}

// What a slice posts is due whatever becomes of it: also if, after a change of prices, what was
// delivered turns out to be other tokens than those that were produced first.
TEST(RequestRate, ASliceIsDueHoweverItsTokensAreToldApart) {
  PriceVector dear;
  dear[RatedClass::kOutput] = dear[RatedClass::kReasoning] = 30'000'000;
  PriceVector cheap;
  cheap[RatedClass::kOutput] = cheap[RatedClass::kReasoning] = 10'000'000;
  RequestRate tokens = *RequestRate::make(nullptr, dear, 10, 100);
  ASSERT_TRUE(tokens.reprice({.output = 10}, cheap).ok());
  EXPECT_LE(tokens.sure_charge(5), tokens.output_charge({.prompt = 10}, {.reasoning = 5}));
  unit::CostMatrix cost = matrix();
  for (u64 seed = first_seed(); seed < first_seed() + 1'000; ++seed) {
    SeededRandom random(seed);
    RequestRate rate = *RequestRate::make(&cost, random_prices(random), 50, 300);
    OutputReading at;
    for (u64 changes = random.below(4); changes > 0; --changes) {
      at.output += static_cast<i64>(random.below(60));
      at.reasoning += static_cast<i64>(random.below(30));
      ASSERT_TRUE(rate.reprice(at, random_prices(random)).ok());
    }
    for (i64 n = 0; n <= 300; n += 1 + static_cast<i64>(random.below(40))) {
      OutputReading output{.reasoning = static_cast<i64>(random.below(static_cast<u64>(n) + 1))};
      output.output = n - output.reasoning;
      InputReading input{.prompt = 50, .cached = static_cast<i64>(random.below(51))};
      ASSERT_LE(rate.sure_charge(n), rate.output_charge(input, output)) << seed;
    }
  }
}

// The factor tariff of today's receipts is one price: 10^9 x factor_ppm nano-ST per MST.
TEST(RequestRate, AFactorIsAPriceOfWork) {
  unit::CostMatrix cost = matrix();
  PriceVector prices;
  prices[RatedClass::kWork] = 418'000 * 1'000'000'000LL;
  RequestRate rate = *RequestRate::make(&cost, prices, 700, 100);
  std::vector<i64> outputs = {77};
  unit::NanoSt work = unit::nominal_work(cost, {.prompt = 700, .outputs = outputs})->total;
  EXPECT_EQ(rate.charge({.prompt = 700}, {.output = 77}), work.value * 418'000 / 1'000'000);
}

TEST(RequestRate, RefusesWhatCouldNotBeRated) {
  PriceVector prices;
  EXPECT_FALSE(RequestRate::make(nullptr, prices, -1, 10).ok());
  EXPECT_FALSE(RequestRate::make(nullptr, prices, 1, kRatedTokensMax + 1).ok());
  prices[RatedClass::kOutput] = kTokenPriceMax;
  EXPECT_EQ(RequestRate::make(nullptr, prices, 1, 2'000'000).error().code, Code::kLimit);
}

}  // namespace
}  // namespace tg::market
