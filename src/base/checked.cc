#include "base/checked.h"

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
  // Nineteen digits at a time, the most that 64 bits always hold: dividing 128 bits is slow.
  constexpr u64 kPart = 10'000'000'000'000'000'000u;
  constexpr int kPartDigits = 19;
  if (value < kPart) return std::to_string(static_cast<u64>(value));
  std::string low = std::to_string(static_cast<u64>(value % kPart));
  return to_string(value / kPart) + std::string(kPartDigits - low.size(), '0') + low;
}

std::string to_string(i128 value) {
  if (value >= 0) return to_string(static_cast<u128>(value));
  return "-" + to_string(~static_cast<u128>(value) + 1);
}

}  // namespace tg
