#include "meter/price_vector.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "base/checked.h"

namespace tg::meter {

namespace {

// Every class's denominator divides this one.
constexpr i64 kDenominator = 1'000'000'000'000'000;
#define TG_RATED_DIVIDES(id, name, units) static_assert(kDenominator % (units) == 0);
TG_RATED_CLASSES(TG_RATED_DIVIDES)
#undef TG_RATED_DIVIDES

constexpr std::size_t index_of(RatedClass rated) {
  return static_cast<std::size_t>(rated);
}
constexpr bool is_token(std::size_t i) {
  return i < kTokenClasses;
}
constexpr bool is_work(std::size_t i) {
  return i == index_of(RatedClass::kWork);
}

i64 use_max(std::size_t i) {
  if (is_token(i)) return kRatedTokensMax;
  return is_work(i) ? INT64_MAX : kRatedByteSecondsMax;
}

i64 price_max(std::size_t i) {
  if (is_token(i)) return kTokenPriceMax;
  return is_work(i) ? kWorkPriceMax : kResidencyPriceMax;
}

Status check_bounds(const ClassVector& vector, std::string_view what, i64 (*max)(std::size_t)) {
  for (std::size_t i = 0; i < kRatedClasses; ++i) {
    i64 value = vector.values[i];
    std::string_view class_name = name(static_cast<RatedClass>(i));
    if (value < 0)
      return Error{Code::kInvalid, fmt::format("{} {} is {}, negative", what, class_name, value)};
    if (value > max(i)) {
      return Error{Code::kLimit,
                   fmt::format("{} {} is {}, above {}", what, class_name, value, max(i))};
    }
  }
  return {};
}

// In 10^-15 of the tariff's unit. Within the bounds: 5 * 10^36 of tokens, 9.3 * 10^36 of work and
// 3 * 10^36 of residency, against 1.7 * 10^38.
u128 exact_value(const Consumption& use, const PriceVector& prices) {
  u128 sum = 0;
  for (std::size_t i = 0; i < kRatedClasses; ++i) {
    i64 scale = kDenominator / units_per_price(static_cast<RatedClass>(i));
    sum += static_cast<u128>(use.values[i]) * static_cast<u128>(prices.values[i]) *
           static_cast<u128>(scale);
  }
  return sum;
}

std::optional<i64> unit_price(i64 charge, i64 units_per, u128 units) {
  if (units == 0) return std::nullopt;
  u128 scaled = static_cast<u128>(charge) * static_cast<u128>(units_per);
  u128 price = div_round_half_even(scaled, units);
  return price > static_cast<u128>(INT64_MAX) ? INT64_MAX : static_cast<i64>(price);
}

}  // namespace

std::string_view name(RatedClass rated) {
  switch (rated) {
#define TG_RATED_NAME(id, text, units) \
  case RatedClass::id: return text;
    TG_RATED_CLASSES(TG_RATED_NAME)
#undef TG_RATED_NAME
    case RatedClass::kCount: break;
  }
  return "unknown";
}

i64 units_per_price(RatedClass rated) {
  switch (rated) {
#define TG_RATED_UNITS(id, text, units) \
  case RatedClass::id: return units;
    TG_RATED_CLASSES(TG_RATED_UNITS)
#undef TG_RATED_UNITS
    case RatedClass::kCount: break;
  }
  return 1;
}

Status check(const Consumption& use) {
  return check_bounds(use, "use of", use_max);
}

Status check(const PriceVector& prices) {
  return check_bounds(prices, "price of", price_max);
}

i64 tokens_of(const Consumption& use) {
  i64 sum = 0;
  for (std::size_t i = 0; i < kTokenClasses; ++i) sum += use.values[i];
  return sum;
}

Status Rater::read(const Consumption& cumulative, const PriceVector& prices) {
  TG_TRY(check(cumulative));
  TG_TRY(check(prices));
  Consumption added;
  for (std::size_t i = 0; i < kRatedClasses; ++i) {
    added.values[i] = cumulative.values[i] - registers_.values[i];
    if (added.values[i] < 0) {
      return Error{Code::kInvalid, fmt::format("register {} ran backwards, {} after {}",
                                               name(static_cast<RatedClass>(i)),
                                               cumulative.values[i], registers_.values[i])};
    }
  }
  u128 numerator = numerator_ + exact_value(added, prices);
  if (numerator / kDenominator > static_cast<u128>(kChargeMax))
    return Error{Code::kLimit, "charge above " + std::to_string(kChargeMax)};
  numerator_ = numerator;
  registers_ = cumulative;
  return {};
}

i64 Rater::charge() const {
  return static_cast<i64>(numerator_ / kDenominator);
}

Result<i64> rate(const Consumption& use, const PriceVector& prices) {
  Rater rater;
  TG_TRY(rater.read(use, prices));
  return rater.charge();
}

PriceViews views(i64 charge, const Consumption& use) {
  TG_ASSERT(charge >= 0 && charge <= kChargeMax);
  u128 tokens = static_cast<u128>(tokens_of(use));
  u128 work = static_cast<u128>(use[RatedClass::kWork]);
  return {
      .per_million_tokens = unit_price(charge, units_per_price(RatedClass::kUncachedInput), tokens),
      .per_mst = unit_price(charge, units_per_price(RatedClass::kWork), work)};
}

}  // namespace tg::meter
