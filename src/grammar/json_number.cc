#include "grammar/json_number.h"

#include <algorithm>
#include <charconv>

namespace tg::grammar {
namespace {

constexpr i64 kIntegerMax = 999'999'999'999'999;  // kNumberDigitsMax nines.
constexpr i64 kBoundedWholeDigits = 9;

// -1, 0, 1 as |a| is less, equal, more than |b|.
int compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  int by_whole = a.whole.compare(b.whole);
  int by_fraction = a.fraction.compare(b.fraction);
  int order = by_whole != 0 ? by_whole : by_fraction;
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

bool is_zero(const Decimal& d) {
  return d.whole == "0" && d.fraction.empty();
}

int compare(const Decimal& a, const Decimal& b) {
  bool a_negative = a.is_negative && !is_zero(a);
  bool b_negative = b.is_negative && !is_zero(b);
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  return a_negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

std::string plus_one(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '9') {
      ++digits[i];
      return digits;
    }
    digits[i] = '0';
  }
  return "1" + digits;
}

// REQUIRES: not "0".
std::string minus_one(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '0') {
      --digits[i];
      break;
    }
    digits[i] = '9';
  }
  if (digits.size() > 1 && digits[0] == '0') digits.erase(0, 1);
  return digits;
}

// A magnitude's bound: inclusive or not.
struct Limit {
  std::string whole;
  std::string fraction;
  bool is_exclusive = false;
};

// Writes magnitudes of up to `whole_digits` and `fraction_digits` digits.
class Magnitudes {
 public:
  Magnitudes(Grammar& grammar, i64 whole_digits, i64 fraction_digits)
      : g_(grammar), whole_digits_(whole_digits), fraction_digits_(fraction_digits) {}

  i32 at_least(const Limit& limit) {
    i32 above = g_.sequence({whole_at_least(plus_one(limit.whole)), any_fraction()});
    i32 level =
        g_.sequence({g_.bytes(limit.whole),
                     fraction(tail_at_least(limit.fraction, limit.is_exclusive, fraction_digits_),
                              limit.fraction.empty() && !limit.is_exclusive)});
    bool fits = static_cast<i64>(limit.whole.size()) <= whole_digits_;
    return fits ? g_.choice({above, level}) : nothing();
  }

  i32 at_most(const Limit& limit) {
    if (static_cast<i64>(limit.whole.size()) > whole_digits_)
      return g_.sequence({any_whole(), any_fraction()});
    std::vector<i32> ways;
    if (limit.whole != "0")
      ways.push_back(g_.sequence({whole_at_most(minus_one(limit.whole)), any_fraction()}));
    bool may_be_none = !limit.fraction.empty() || !limit.is_exclusive;
    ways.push_back(
        g_.sequence({g_.bytes(limit.whole),
                     fraction(tail_at_most(limit.fraction, limit.is_exclusive, fraction_digits_),
                              may_be_none)}));
    return g_.choice(std::move(ways));
  }

  i32 any_whole() {
    return g_.choice({g_.bytes("0"), g_.sequence({digits('1', '9'), some(0, whole_digits_ - 1)})});
  }

  i32 any_fraction() {
    if (fraction_digits_ == 0) return g_.bytes("");
    return g_.optional(g_.sequence({g_.bytes("."), some(1, fraction_digits_)}));
  }

 private:
  i32 nothing() { return g_.choice({}); }
  i32 digits(char first, char last) {
    if (first > last) return nothing();
    return g_.chars(CharSet({{static_cast<u32>(first), static_cast<u32>(last)}}));
  }
  i32 some(i64 min, i64 max) { return g_.repeat(digits('0', '9'), min, std::max(min, max)); }

  i32 whole_at_least(const std::string& least) {
    i64 size = static_cast<i64>(least.size());
    std::vector<i32> ways;
    if (size < whole_digits_)
      ways.push_back(g_.sequence({digits('1', '9'), some(size, whole_digits_ - 1)}));
    if (size <= whole_digits_) {
      ways.push_back(g_.bytes(least));
      for (i64 i = 0; i < size; ++i) {
        ways.push_back(
            g_.sequence({g_.bytes(least.substr(0, i)), digits(static_cast<char>(least[i] + 1), '9'),
                         some(size - i - 1, size - i - 1)}));
      }
    }
    return g_.choice(std::move(ways));
  }

  i32 whole_at_most(const std::string& most) {
    i64 size = static_cast<i64>(most.size());
    std::vector<i32> ways = {g_.bytes(most)};
    if (most != "0") ways.push_back(g_.bytes("0"));
    if (size > 1) ways.push_back(g_.sequence({digits('1', '9'), some(0, size - 2)}));
    for (i64 i = 0; i < size; ++i) {
      char first = i == 0 ? '1' : '0';
      ways.push_back(
          g_.sequence({g_.bytes(most.substr(0, i)), digits(first, static_cast<char>(most[i] - 1)),
                       some(size - i - 1, size - i - 1)}));
    }
    return g_.choice(std::move(ways));
  }

  // '.' and one or more digits of `tail`, or nothing if that is in the range.
  i32 fraction(i32 tail, bool may_be_none) {
    std::vector<i32> ways;
    if (may_be_none) ways.push_back(g_.bytes(""));
    if (fraction_digits_ > 0) ways.push_back(g_.sequence({g_.bytes("."), tail}));
    return g_.choice(std::move(ways));
  }

  // One to `room` digits t with 0.t at least 0.`digits_at`.
  i32 tail_at_least(std::string_view least, bool is_exclusive, i64 room) {
    if (room <= 0) return nothing();
    if (least.empty() && !is_exclusive) return some(1, room);
    std::vector<i32> ways;
    char digit = least.empty() ? '0' : least[0];
    ways.push_back(g_.sequence({digits(static_cast<char>(digit + 1), '9'), some(0, room - 1)}));
    std::string_view next = least.empty() ? least : least.substr(1);
    std::vector<i32> rest;
    if (next.empty() && !is_exclusive) rest.push_back(g_.bytes(""));
    rest.push_back(tail_at_least(next, is_exclusive, room - 1));
    ways.push_back(g_.sequence({digits(digit, digit), g_.choice(std::move(rest))}));
    return g_.choice(std::move(ways));
  }

  // One to `room` digits t with 0.t at most 0.`most`.
  i32 tail_at_most(std::string_view most, bool is_exclusive, i64 room) {
    if (room <= 0) return nothing();
    if (most.empty()) return is_exclusive ? nothing() : g_.repeat(digits('0', '0'), 1, room);
    std::vector<i32> ways;
    ways.push_back(g_.sequence({digits('0', static_cast<char>(most[0] - 1)), some(0, room - 1)}));
    std::string_view next = most.substr(1);
    std::vector<i32> rest;
    if (!next.empty() || !is_exclusive) rest.push_back(g_.bytes(""));
    rest.push_back(tail_at_most(next, is_exclusive, room - 1));
    ways.push_back(g_.sequence({digits(most[0], most[0]), g_.choice(std::move(rest))}));
    return g_.choice(std::move(ways));
  }

  Grammar& g_;
  i64 whole_digits_;
  i64 fraction_digits_;
};

Limit limit_of(const Decimal& d, bool is_exclusive) {
  return {.whole = d.whole, .fraction = d.fraction, .is_exclusive = is_exclusive};
}

i64 digits_of(const std::optional<Bound>& bound) {
  return bound ? static_cast<i64>(bound->value.whole.size()) : 0;
}

// Magnitudes between two limits, either of which may be missing.
Result<Automaton> between(const std::optional<Limit>& least, const std::optional<Limit>& most,
                          i64 whole_digits, i64 fraction_digits) {
  Grammar scratch;
  Magnitudes magnitudes(scratch, whole_digits, fraction_digits);
  Limit zero = {.whole = "0", .fraction = "", .is_exclusive = false};
  TG_ASSIGN(Automaton low, to_automaton(scratch, magnitudes.at_least(least.value_or(zero))));
  if (!most) return low;
  TG_ASSIGN(Automaton high, to_automaton(scratch, magnitudes.at_most(*most)));
  return intersect(low, high);
}

Error too_long(const std::string& whole) {
  return {Code::kUnsupported, "a bound of " + std::to_string(whole.size()) + " digits, more than " +
                                  std::to_string(kNumberDigitsMax)};
}

// A bound past all numbers written leaves no choice on that side or none at all.
Status check_bounds(const NumberRange& range) {
  if (range.least && !range.least->value.is_negative && digits_of(range.least) > kNumberDigitsMax)
    return too_long(range.least->value.whole);
  if (range.most && range.most->value.is_negative && digits_of(range.most) > kNumberDigitsMax)
    return too_long(range.most->value.whole);
  return {};
}

// Both signs of the range, as an automaton each behind its sign.
Result<i32> add_signed(Grammar& grammar, const NumberRange& range, i64 whole_digits,
                       i64 fraction_digits) {
  std::optional<Limit> least;
  std::optional<Limit> most;
  if (range.least) least = limit_of(range.least->value, range.least->is_exclusive);
  if (range.most) most = limit_of(range.most->value, range.most->is_exclusive);
  bool least_is_negative = range.least && range.least->value.is_negative;
  bool most_is_negative = range.most && range.most->value.is_negative;
  std::vector<i32> ways;
  if (!most_is_negative) {
    TG_ASSIGN(Automaton a, between(least_is_negative ? std::nullopt : least, most, whole_digits,
                                   fraction_digits));
    if (!is_void(a)) ways.push_back(grammar.automaton(std::move(a)));
  }
  if (!range.least || least_is_negative) {
    // A negative zero is left out of it: readers disagree on whether it is zero.
    Limit above_zero = {.whole = "0", .fraction = "", .is_exclusive = true};
    TG_ASSIGN(Automaton a,
              between(most_is_negative ? most : above_zero, least, whole_digits, fraction_digits));
    if (!is_void(a))
      ways.push_back(grammar.sequence({grammar.bytes("-"), grammar.automaton(std::move(a))}));
  }
  return grammar.choice(std::move(ways));
}

i64 integer_of(const Decimal& d) {
  if (static_cast<i64>(d.whole.size()) > kNumberDigitsMax) return kIntegerMax + 1;
  i64 value = 0;
  for (char c : d.whole) value = value * 10 + (c - '0');
  return value;
}

// The least integer that is at least (or more than) the bound.
i64 ceiling(const Bound& bound) {
  i64 magnitude = integer_of(bound.value);
  bool is_whole = bound.value.fraction.empty();
  if (bound.value.is_negative) return -magnitude + (is_whole && bound.is_exclusive ? 1 : 0);
  return magnitude + (!is_whole || bound.is_exclusive ? 1 : 0);
}

i64 floor_of(const Bound& bound) {
  Bound mirrored = bound;
  mirrored.value.is_negative = !bound.value.is_negative;
  return -ceiling(mirrored);
}

// Integers of either sign whose remainder by `m` is 0: a state per remainder.
Automaton multiples(i64 m) {
  Automaton a;
  a.start = a.add_state();
  i32 after_sign = a.add_state();
  for (i64 r = 0; r < m; ++r) a.add_state();
  auto state_of = [&](i64 value) { return static_cast<i32>(2 + value % m); };
  a.states[a.start].edges.push_back({'-', '-', after_sign});
  for (int digit = 0; digit < 10; ++digit) {
    u8 byte = static_cast<u8>('0' + digit);
    a.states[a.start].edges.push_back({byte, byte, state_of(digit)});
    a.states[after_sign].edges.push_back({byte, byte, state_of(digit)});
    for (i64 r = 0; r < m; ++r)
      a.states[state_of(r)].edges.push_back({byte, byte, state_of(r * 10 + digit)});
  }
  a.states[state_of(0)].is_final = true;
  return a;
}

Result<i32> list_multiples(Grammar& grammar, i64 least, i64 most, i64 m) {
  i64 first = least / m + (least > 0 && least % m != 0 ? 1 : 0);
  i64 last = most / m - (most < 0 && most % m != 0 ? 1 : 0);
  if (last - first >= kMultiplesListedMax)
    return Error{Code::kUnsupported, "multipleOf " + std::to_string(m) + ", more than " +
                                         std::to_string(kMultipleMax) + " over a wide range"};
  std::vector<i32> ways;
  for (i64 i = first; i <= last; ++i) ways.push_back(grammar.bytes(std::to_string(i * m)));
  return grammar.choice(std::move(ways));
}

Result<i32> add_integer(Grammar& grammar, const NumberRange& range) {
  i64 least = range.least ? std::max(ceiling(*range.least), -kIntegerMax) : -kIntegerMax;
  i64 most = range.most ? std::min(floor_of(*range.most), kIntegerMax) : kIntegerMax;
  if (least > most) return grammar.choice({});
  if (range.multiple_of > kMultipleMax)
    return list_multiples(grammar, least, most, range.multiple_of);
  NumberRange exact;
  exact.least = Bound{decimal_of(least), false};
  exact.most = Bound{decimal_of(most), false};
  if (range.multiple_of <= 1) return add_signed(grammar, exact, kNumberDigitsMax, 0);
  Grammar scratch;
  TG_ASSIGN(i32 all, add_signed(scratch, exact, kNumberDigitsMax, 0));
  TG_ASSIGN(Automaton in_range, to_automaton(scratch, all));
  TG_ASSIGN(Automaton kept, intersect(in_range, multiples(range.multiple_of)));
  return grammar.automaton(std::move(kept));
}

i32 add_any_number(Grammar& grammar) {
  Magnitudes magnitudes(grammar, kNumberDigitsMax, kNumberDigitsMax);
  i32 digit = grammar.chars(CharSet({{'0', '9'}}));
  i32 sign = grammar.optional(grammar.chars(CharSet({{'+', '+'}, {'-', '-'}})));
  i32 exponent = grammar.sequence(
      {grammar.chars(CharSet({{'e', 'e'}, {'E', 'E'}})), sign, grammar.repeat(digit, 1, 2)});
  return grammar.sequence({grammar.optional(grammar.bytes("-")), magnitudes.any_whole(),
                           magnitudes.any_fraction(), grammar.optional(exponent)});
}

}  // namespace

Decimal decimal_of(i64 value) {
  Decimal d;
  d.is_negative = value < 0;
  d.whole = std::to_string(value).substr(d.is_negative ? 1 : 0);
  return d;
}

Decimal decimal_of(u64 value) {
  return {.is_negative = false, .whole = std::to_string(value)};
}

Decimal decimal_of(f64 value) {
  char buffer[1200];
  std::to_chars_result end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  TG_ASSERT(end.ec == std::errc());
  std::string text(buffer, end.ptr);
  Decimal d;
  d.is_negative = text[0] == '-';
  if (d.is_negative) text.erase(0, 1);
  std::size_t point = std::min(text.find('.'), text.size());
  d.whole = text.substr(0, point);
  if (point < text.size()) d.fraction = text.substr(point + 1);
  while (!d.fraction.empty() && d.fraction.back() == '0') d.fraction.pop_back();
  if (is_zero(d)) d.is_negative = false;
  return d;
}

void NumberRange::raise_least(const Bound& bound) {
  int order = least ? compare(bound.value, least->value) : 1;
  if (order > 0 || (order == 0 && bound.is_exclusive)) least = bound;
}

void NumberRange::lower_most(const Bound& bound) {
  int order = most ? compare(bound.value, most->value) : -1;
  if (order < 0 || (order == 0 && bound.is_exclusive)) most = bound;
}

Result<i32> add_number(Grammar& grammar, const NumberRange& range) {
  TG_TRY(check_bounds(range));
  if (range.is_integer || range.multiple_of > 0) return add_integer(grammar, range);
  if (!range.least && !range.most) return add_any_number(grammar);
  i64 whole = std::max({kBoundedWholeDigits, digits_of(range.least), digits_of(range.most)});
  whole = std::min(whole, kNumberDigitsMax);
  return add_signed(grammar, range, whole, kNumberDigitsMax - whole);
}

}  // namespace tg::grammar
