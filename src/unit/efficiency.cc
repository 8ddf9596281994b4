#include "unit/efficiency.h"

#include "base/checked.h"

namespace tg::unit {

static constexpr u128 kNanoPerSt = 1'000'000'000;

Result<Efficiency> add(const Efficiency& a, const Efficiency& b) {
  std::optional<u128> nominal = checked_add(a.nominal_nano_st, b.nominal_nano_st);
  std::optional<u128> actual = checked_add(a.actual_atto_st, b.actual_atto_st);
  std::optional<u128> spent = checked_add(a.spent, b.spent);
  if (!nominal || !actual || !spent)
    return Error{Code::kLimit, "efficiency: a sum exceeds 128 bits"};
  return Efficiency{*nominal, *actual, *spent};
}

Result<Ratio> yield_of(const Efficiency& sums) {
  if (sums.actual_atto_st == 0) return Error{Code::kInvalid, "yield: no work was spent"};
  TG_ASSIGN(Ratio in_nano, make_ratio(sums.nominal_nano_st, sums.actual_atto_st));
  return multiply(in_nano, Ratio{kAttoPerNano, 1});
}

Result<Ratio> cost_per_useful_token(const Efficiency& sums) {
  if (sums.nominal_nano_st == 0)
    return Error{Code::kInvalid, "cost per useful token: nothing useful was delivered"};
  TG_ASSIGN(Ratio per_nano, make_ratio(sums.spent, sums.nominal_nano_st));
  return multiply(per_nano, Ratio{kNanoPerSt, 1});
}

}  // namespace tg::unit
