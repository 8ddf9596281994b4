// JSON numbers within bounds. Magnitudes are automata over decimal digits, so that ranges are
// intersections. At most 15 significant digits are written where a bound is to be kept: as many as
// a double tells apart, so that a reader that parses doubles compares what was meant. Otherwise
// exponents have two digits: nothing overflows to infinity.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace tg::grammar {

inline constexpr i64 kNumberDigitsMax = 15;
// Largest multipleOf that works on any range; a larger one needs a range with few multiples.
inline constexpr i64 kMultipleMax = 1024;
inline constexpr i64 kMultiplesListedMax = 4096;

// A decimal number as written: digits without an exponent.
struct Decimal {
  bool is_negative = false;
  std::string whole = "0";  // Without leading zeros.
  std::string fraction;     // Without trailing zeros.
};

Decimal decimal_of(i64 value);
Decimal decimal_of(u64 value);
// The shortest decimal that reads back as `value`. REQUIRES: finite.
Decimal decimal_of(f64 value);

struct Bound {
  Decimal value;
  bool is_exclusive = false;
};

struct NumberRange {
  std::optional<Bound> least;
  std::optional<Bound> most;
  i64 multiple_of = 0;  // 0: any.
  bool is_integer = false;

  // Keeps the stricter of this bound and the one there is.
  void raise_least(const Bound& bound);
  void lower_most(const Bound& bound);
};

// Adds the numbers of the range to `grammar`. kUnsupported for bounds of more digits than are
// written and multiples past the limits above. A range without numbers matches nothing.
Result<i32> add_number(Grammar& grammar, const NumberRange& range);

}  // namespace tg::grammar
