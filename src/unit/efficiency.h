// What a seller sees (standard-token.md §4): yield and the cost of a useful token, as exact ratios.
#pragma once

#include "unit/ratio.h"
#include "unit/standard_token.h"

namespace tg::unit {

// Sums over any set of steps and requests; sums of sums are sums (ST2).
struct Efficiency {
  u128 nominal_nano_st = 0;  // delivered and accepted; aborted, duplicated or rejected work is not
  u128 actual_atto_st = 0;   // spent, whatever became of it
  u128 spent = 0;            // money: capacity, energy, burst; in the ledger's smallest unit
};

// kLimit on overflow.
Result<Efficiency> add(const Efficiency& a, const Efficiency& b);

// Nominal work delivered per actual work spent: above 1 where speculation, caching and batching
// gain more than is lost. kInvalid if nothing was spent.
Result<Ratio> yield_of(const Efficiency& sums);

// CPUT: money per Standard Token that was useful. kInvalid if nothing useful was delivered.
Result<Ratio> cost_per_useful_token(const Efficiency& sums);

}  // namespace tg::unit
