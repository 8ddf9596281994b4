#include "market/tariff.h"

#include "base/assert.h"
#include "meter/receipt.h"

namespace tg::market {

namespace {
constexpr u64 kFactorMax = 1'000'000'000;     // A thousandfold price is a typing error.
constexpr i64 kPriceMax = 1'000'000'000'000;  // A million credits per MST.
constexpr i64 kPriceTick = 100;               // Lots times price stay integers.
constexpr i64 kNanoPerMst = 1'000'000'000'000'000;
}  // namespace

Status Tariff::check() const {
  if (meter::receipt_name(name) != name)
    return Error{Code::kInvalid, "tariff: name '" + name + "' has illegal characters"};
  if (factor_ppm == 0 || factor_ppm > kFactorMax) {
    return Error{Code::kInvalid,
                 "tariff: factor_ppm " + std::to_string(factor_ppm) + " out of range"};
  }
  if (price_ucredit_per_mst < 0 || price_ucredit_per_mst > kPriceMax ||
      price_ucredit_per_mst % kPriceTick != 0) {
    return Error{Code::kInvalid, "tariff: price " + std::to_string(price_ucredit_per_mst) +
                                     " is not a multiple of 100 ucredit in range"};
  }
  return {};
}

i64 list_value_ucredit(const Tariff& tariff, i64 billed) {
  TG_ASSERT(billed >= 0);
  u128 value =
      static_cast<u128>(billed) * static_cast<u128>(tariff.price_ucredit_per_mst) / kNanoPerMst;
  return static_cast<i64>(value);
}

}  // namespace tg::market
