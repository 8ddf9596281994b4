// An exact ratio of two 128-bit integers: rates between units of work and money, which are never
// floats. Rounding happens where an amount is made, once, and is stated there.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::unit {

struct Ratio {
  u128 numerator = 0;
  u128 denominator = 1;  // above 0; coprime to the numerator
  friend bool operator==(const Ratio&, const Ratio&) = default;
};

// In lowest terms. kInvalid if the denominator is 0.
Result<Ratio> make_ratio(u128 numerator, u128 denominator);
// kLimit if a term in lowest terms exceeds 128 bits.
Result<Ratio> multiply(const Ratio& a, const Ratio& b);
// kInvalid if `a` is 0.
Result<Ratio> invert(const Ratio& a);
// amount * ratio, rounded half to even. kLimit on overflow.
Result<u128> scale(u128 amount, const Ratio& ratio);

// "3/4", for records; "0.750000" (rounded half to even), for people.
std::string to_text(const Ratio& ratio);
std::string to_decimal(const Ratio& ratio, u32 decimals);

}  // namespace tg::unit
