#include "base/checked.h"

#include <algorithm>

#include "base/assert.h"

namespace tg {

u128 div_round_half_even(u128 numerator, u128 denominator) {
  TG_ASSERT(denominator > 0);
  u128 quotient = numerator / denominator;
  u128 remainder = numerator % denominator;
  // remainder is compared with its complement so that doubling cannot overflow.
  u128 complement = denominator - remainder;
  bool up = remainder > complement || (remainder == complement && (quotient & 1) == 1);
  return quotient + (up ? 1 : 0);
}

std::string to_string(u128 value) {
  if (value == 0) return "0";
  std::string digits;
  for (; value > 0; value /= 10)
    digits.push_back(static_cast<char>('0' + static_cast<int>(value % 10)));
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string to_string(i128 value) {
  if (value >= 0) return to_string(static_cast<u128>(value));
  return "-" + to_string(~static_cast<u128>(value) + 1);
}

}  // namespace tg
