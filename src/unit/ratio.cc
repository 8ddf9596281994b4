#include "unit/ratio.h"

#include "base/assert.h"
#include "base/checked.h"

namespace tg::unit {

static u128 gcd(u128 a, u128 b) {
  while (b != 0) {
    u128 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static Error too_large() {
  return Error{Code::kLimit, "ratio: a term exceeds 128 bits"};
}

Result<Ratio> make_ratio(u128 numerator, u128 denominator) {
  if (denominator == 0) return Error{Code::kInvalid, "ratio: " + to_string(numerator) + " over 0"};
  u128 common = gcd(numerator, denominator);
  return Ratio{numerator / common, denominator / common};
}

Result<Ratio> multiply(const Ratio& a, const Ratio& b) {
  // Crosswise first, so that the products are in lowest terms and as small as they can be.
  TG_ASSIGN(Ratio left, make_ratio(a.numerator, b.denominator));
  TG_ASSIGN(Ratio right, make_ratio(b.numerator, a.denominator));
  std::optional<u128> numerator = checked_mul(left.numerator, right.numerator);
  std::optional<u128> denominator = checked_mul(left.denominator, right.denominator);
  if (!numerator || !denominator) return too_large();
  return Ratio{*numerator, *denominator};
}

Result<Ratio> invert(const Ratio& a) {
  return make_ratio(a.denominator, a.numerator);
}

Result<u128> scale(u128 amount, const Ratio& ratio) {
  TG_ASSERT(ratio.denominator > 0);
  TG_ASSIGN(Ratio product, multiply(Ratio{amount, 1}, ratio));
  return div_round_half_even(product.numerator, product.denominator);
}

std::string to_text(const Ratio& ratio) {
  return to_string(ratio.numerator) + "/" + to_string(ratio.denominator);
}

std::string to_decimal(const Ratio& ratio, u32 decimals) {
  u128 power = 1;
  for (u32 i = 0; i < decimals; ++i) power *= 10;
  Result<u128> scaled = scale(power, ratio);
  if (!scaled.ok()) return to_text(ratio);
  std::string digits = to_string(*scaled % power);
  std::string whole = to_string(*scaled / power);
  if (decimals == 0) return whole;
  return whole + "." + std::string(decimals - digits.size(), '0') + digits;
}

}  // namespace tg::unit
