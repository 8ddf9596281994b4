#include "meter/price_vector.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::meter {
namespace {

ClassVector parse_vector(const std::string& text) {
  ClassVector out;
  std::istringstream words(text);
  std::string word;
  while (words >> word) {
    std::size_t equals = word.find('=');
    bool found = false;
    for (std::size_t i = 0; i < kRatedClasses; ++i) {
      if (word.substr(0, equals) != name(static_cast<RatedClass>(i))) continue;
      out.values[i] = std::stoll(word.substr(equals + 1));
      found = true;
    }
    EXPECT_TRUE(found) << word;
  }
  return out;
}

std::string shown(const std::optional<i64>& value) {
  return value ? std::to_string(*value) : "-";
}

TEST(Rating, Cases) {
  std::ifstream file(TG_SOURCE_DIR "/src/meter/cases/rating.txt");
  std::string line;
  int cases = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream columns(line);
    std::string name, prices_text, use_text, expected;
    std::getline(columns, name, '|');
    std::getline(columns, prices_text, '|');
    std::getline(columns, use_text, '|');
    std::getline(columns, expected);
    PriceVector prices{parse_vector(prices_text)};
    Consumption use{parse_vector(use_text)};
    Result<i64> charge = rate(use, prices);
    ASSERT_TRUE(charge.ok()) << name << charge.error().message;
    PriceViews both = views(*charge, use);
    EXPECT_EQ(" " + std::to_string(*charge) + " " + shown(both.per_million_tokens) + " " +
                  shown(both.per_mst),
              expected)
        << name;
    ++cases;
  }
  EXPECT_GE(cases, 16);
}

Consumption random_use(SeededRandom& random) {
  Consumption use;
  for (std::size_t i = 0; i < kTokenClasses; ++i)
    use.values[i] = static_cast<i64>(random.below(5'000));
  use[RatedClass::kResidencyHost] = static_cast<i64>(random.below(1'000'000'000'000));
  use[RatedClass::kWork] = static_cast<i64>(random.below(900'000'000'000));
  return use;
}

PriceVector random_prices(SeededRandom& random) {
  PriceVector prices;
  for (std::size_t i = 0; i < kRatedClasses; ++i)
    prices.values[i] = static_cast<i64>(random.below(30'000'000));
  return prices;
}

// I-12: any slicing of the same use at the same prices posts the same total, and no prefix of it
// is ever posted above its own exact value.
TEST(Rating, I12SlicingNeverChangesTheTotal) {
  for (u64 seed = first_seed(); seed < first_seed() + 2'000; ++seed) {
    SeededRandom random(seed);
    PriceVector prices = random_prices(random);
    Consumption total = random_use(random);
    Result<i64> whole = rate(total, prices);
    ASSERT_TRUE(whole.ok());
    Rater rater;
    Consumption now;
    i64 posted = 0;
    u64 slices = 1 + random.below(12);
    for (u64 k = 0; k <= slices; ++k) {
      for (std::size_t i = 0; i < kRatedClasses; ++i) {
        i64 left = total.values[i] - now.values[i];
        now.values[i] +=
            k == slices ? left : static_cast<i64>(random.below(static_cast<u64>(left) + 1));
      }
      ASSERT_TRUE(rater.read(now, prices).ok());
      i64 delta = rater.charge() - posted;
      ASSERT_GE(delta, 0);
      posted += delta;
    }
    ASSERT_EQ(posted, *whole) << "seed " << seed;
  }
}

// A tariff change in mid-stream splits the use into exact parts: the reading at the change decides,
// not how often readings were taken besides (money.md §5.4, 4).
TEST(Rating, I12HoldsAcrossATariffChange) {
  for (u64 seed = first_seed(); seed < first_seed() + 500; ++seed) {
    SeededRandom random(seed);
    PriceVector day = random_prices(random);
    PriceVector night = random_prices(random);
    Consumption first = random_use(random);
    Consumption second = first;
    for (i64& value : second.values) value += static_cast<i64>(random.below(1'000));
    Rater once;
    ASSERT_TRUE(once.read(first, day).ok());
    ASSERT_TRUE(once.read(second, night).ok());
    Rater often;
    Consumption part;
    for (std::size_t i = 0; i < kRatedClasses; ++i) part.values[i] = first.values[i] / 2;
    ASSERT_TRUE(often.read(part, day).ok());
    ASSERT_TRUE(often.read(first, day).ok());
    ASSERT_TRUE(often.read(first, night).ok());
    ASSERT_TRUE(often.read(second, night).ok());
    ASSERT_EQ(once.charge(), often.charge());
  }
}

TEST(Rating, RefusesWhatIsOutOfRange) {
  Consumption use;
  use[RatedClass::kOutput] = -1;
  EXPECT_EQ(check(use).error().message, "use of output is -1, negative");
  use[RatedClass::kOutput] = kRatedTokensMax + 1;
  EXPECT_EQ(check(use).error().code, Code::kLimit);
  PriceVector prices;
  prices[RatedClass::kResidencyDisk] = kResidencyPriceMax + 1;
  EXPECT_EQ(check(prices).error().message,
            "price of residency_disk is 1000000000000001, above 1000000000000000");
}

TEST(Rating, RegistersOnlyGrowAndErrorsChangeNothing) {
  PriceVector prices;
  prices[RatedClass::kOutput] = 1'000'000;
  Rater rater;
  Consumption use;
  use[RatedClass::kOutput] = 7;
  ASSERT_TRUE(rater.read(use, prices).ok());
  use[RatedClass::kOutput] = 6;
  EXPECT_EQ(rater.read(use, prices).error().message, "register output ran backwards, 6 after 7");
  EXPECT_EQ(rater.charge(), 7);
  EXPECT_EQ(rater.registers()[RatedClass::kOutput], 7);
}

TEST(Rating, LargestUseAtLargestPricesIsRefusedNotWrapped) {
  Consumption use;
  PriceVector prices;
  for (std::size_t i = 0; i < kTokenClasses; ++i) {
    use.values[i] = kRatedTokensMax;
    prices.values[i] = kTokenPriceMax;
  }
  for (std::size_t i = kTokenClasses; i < kRatedClasses - 1; ++i) {
    use.values[i] = kRatedByteSecondsMax;
    prices.values[i] = kResidencyPriceMax;
  }
  use[RatedClass::kWork] = INT64_MAX;
  prices[RatedClass::kWork] = kWorkPriceMax;
  ASSERT_TRUE(check(use).ok());
  ASSERT_TRUE(check(prices).ok());
  EXPECT_EQ(rate(use, prices).error().code, Code::kLimit);
}

// Public bug, gateways.md §4: cached tokens billed twice, at full price or not at all. Disjoint
// classes leave one way: each token once, at its own price.
TEST(Regression, CachedTokensAreRatedOnceAtTheirOwnPrice) {
  PriceVector prices;
  prices[RatedClass::kUncachedInput] = 1'000'000;
  prices[RatedClass::kCachedInput] = 100'000;
  Consumption use;
  use[RatedClass::kUncachedInput] = 1'000;
  use[RatedClass::kCachedInput] = 9'000;
  EXPECT_EQ(*rate(use, prices), 1'000 + 900);
}

}  // namespace
}  // namespace tg::meter
