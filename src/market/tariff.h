// A tariff turns standard tokens into what is billed: a factor on measured work and a list price,
// as data with a name and a version, so that a receipt can state which one it used (money.md §5.2).
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::market {

struct Tariff {
  std::string name = "list/1";
  u64 factor_ppm = 1'000'000;  // billed ST = measured ST x factor / 10^6, floored
  i64 price_ucredit_per_mst =
      2'000'000;  // list price of 10^6 billed ST, in 10^-6 credit; a multiple of 100

  // kInvalid naming the field.
  Status check() const;
};

// The list value of `billed` nano-bST in 10^-6 credit, floored.
i64 list_value_ucredit(const Tariff& tariff, i64 billed);

}  // namespace tg::market
