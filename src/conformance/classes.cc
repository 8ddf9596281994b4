#include "conformance/classes.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::conformance {

namespace {

constexpr std::string_view kNames[] = {"E0", "E1", "E2", "E3.f32", "E3.f16c", "E3.xq8", "E4", "E5"};
static_assert(std::size(kNames) == static_cast<std::size_t>(ErrorClass::kCount));

constexpr f64 kEpsilon = 0x1p-24;  // half an ulp of f32 at 1

struct Format {
  int digits;   // of the fraction
  int minimum;  // exponent of the smallest subnormal
};

Format format_of(isa::DType type) {
  if (type == isa::DType::kF16) return {10, -24};
  if (type == isa::DType::kBf16) return {7, -133};
  return {23, -149};
}

// Below it a value counts as small whatever its row: the limits of Huawei's precision standard.
f64 small_limit(isa::DType type) {
  if (type == isa::DType::kF16) return 0x1p-11;
  if (type == isa::DType::kBf16) return 0x1p-8;
  return 0x1p-14;
}

bool is_product(ErrorClass cls) {
  return cls == ErrorClass::kE3 || cls == ErrorClass::kE3F16c || cls == ErrorClass::kE3Xq8;
}

f64 gamma_of(ErrorClass cls) {
  return cls == ErrorClass::kE3F16c ? kGammaF16c : kGammaF32;
}

f64 rho_of(ErrorClass cls, bool has_offset) {
  f64 rho = cls == ErrorClass::kE3F16c ? kRhoF16c : kRhoF32;
  return has_offset ? std::max(rho, kRhoOffset) : rho;
}

// What a perfect rounding to the result's type may be off.
f64 rounding(const Values& v, f64 golden) {
  return 0.5 * (1 + 0x1p-6) * ulp(v.type, golden);
}

f64 magnitude_at(const Values& v, std::size_t i) {
  return v.magnitude.empty() ? std::fabs(v.golden[i]) : std::fabs(v.magnitude[i]);
}

f64 bound_of(ErrorClass cls, const Values& v, std::size_t i) {
  f64 golden = v.golden[i];
  f64 m = magnitude_at(v, i);
  if (cls == ErrorClass::kE1) {
    return ulp(v.type, golden) + (v.magnitude.empty() ? 0 : kE1Factor * kEpsilon * m);
  }
  if (cls == ErrorClass::kE2) {
    f64 ulps = kE2Base + kE2Slope * std::min(m, kE2ArgumentMax);
    return ulp(v.type, golden) + ulps * ulp(isa::DType::kF32, golden) + kE2Absolute * kEpsilon * m;
  }
  return rounding(v, golden) + gamma_of(cls) * kEpsilon * m;
}

std::string place(const Values& v, std::size_t i) {
  return fmt::format("row {} column {}: {:.9g}, reference {:.9g}", static_cast<i64>(i) / v.columns,
                     static_cast<i64>(i) % v.columns, v.got[i], v.golden[i]);
}

void fail(ElementVerdict& verdict, std::string text) {
  if (verdict.pass) verdict.failure = std::move(text);
  verdict.pass = false;
}

// Bits, so that a zero keeps its sign. The reference's f64 is exact for moves.
bool same_bits(isa::DType type, f64 golden, f64 got) {
  f64 rounded = isa::round_to(type, static_cast<f32>(golden));
  return std::bit_cast<u64>(rounded) == std::bit_cast<u64>(got);
}

void check_exact(const Values& v, ElementVerdict& verdict) {
  bool is_integer = v.type == isa::DType::kI32;
  for (std::size_t i = 0; i < v.got.size(); ++i) {
    bool same = is_integer ? v.got[i] == v.golden[i] : same_bits(v.type, v.golden[i], v.got[i]);
    if (same) continue;
    verdict.used = std::numeric_limits<f64>::infinity();
    fail(verdict, place(v, i) + ", not the same bits");
  }
}

// A reference beyond the type's largest number rounds to infinity, and so must the result.
bool overflows_alike(const Values& v, std::size_t i) {
  f32 rounded = isa::round_to(v.type, static_cast<f32>(v.golden[i]));
  return std::isinf(rounded) && v.got[i] == static_cast<f64>(rounded);
}

void check_finite(const Values& v, ElementVerdict& verdict) {
  for (std::size_t i = 0; i < v.got.size(); ++i) {
    if (std::isfinite(v.got[i]) || overflows_alike(v, i)) continue;
    fail(verdict, place(v, i) + ", not finite");
  }
}

void check_bounds(ErrorClass cls, const Values& v, ElementVerdict& verdict) {
  for (std::size_t i = 0; i < v.got.size(); ++i) {
    if (!std::isfinite(v.got[i])) continue;  // check_finite has said so.
    f64 error = std::fabs(v.got[i] - v.golden[i]);
    f64 bound = bound_of(cls, v, i);
    verdict.used = std::max(verdict.used, error / bound);
    f64 beyond = error - rounding(v, v.golden[i]);
    f64 m = magnitude_at(v, i);
    if (beyond > 0 && m > 0) verdict.gamma = std::max(verdict.gamma, beyond / (kEpsilon * m));
    if (error <= bound) continue;
    fail(verdict, place(v, i) + fmt::format(", error {:.3g} beyond {:.3g}", error, bound));
  }
}

f64 mean_square(std::span<const f64> row) {
  f64 sum = 0;
  for (f64 x : row) sum += x * x;
  return sum / static_cast<f64>(row.size());
}

// ours / theirs, theirs no smaller than what perfect rounding gives.
f64 ratio(f64 ours, f64 theirs, f64 floor) {
  f64 base = std::max(theirs, floor);
  return base > 0 ? ours / base : (ours > 0 ? std::numeric_limits<f64>::infinity() : 0);
}

// |#up - n/2| in standard deviations of a fair coin.
f64 sigmas(i64 up, i64 down) {
  f64 n = static_cast<f64>(up + down);
  return n == 0 ? 0 : std::fabs(static_cast<f64>(up) - n / 2) / (std::sqrt(n) / 2);
}

}  // namespace

std::string_view name(ErrorClass cls) {
  TG_ASSERT(cls < ErrorClass::kCount);
  return kNames[static_cast<std::size_t>(cls)];
}

std::optional<ErrorClass> class_by_name(std::string_view wanted) {
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == wanted) return static_cast<ErrorClass>(i);
  }
  return std::nullopt;
}

u8 number(ErrorClass cls) {
  return static_cast<u8>(name(cls)[1] - '0');
}

bool has_ratios(ErrorClass cls) {
  return is_product(cls) || cls == ErrorClass::kE4;
}

f64 ulp(isa::DType type, f64 value) {
  Format format = format_of(type);
  if (value == 0 || !std::isfinite(value)) return std::ldexp(1.0, format.minimum);
  return std::ldexp(1.0, std::max(std::ilogb(value) - format.digits, format.minimum));
}

ElementVerdict check_elements(ErrorClass cls, const Values& v) {
  TG_ASSERT(v.golden.size() == v.got.size() && v.naive.size() == v.got.size());
  ElementVerdict verdict;
  if (cls == ErrorClass::kE0) {
    check_exact(v, verdict);
    return verdict;
  }
  check_finite(v, verdict);
  if (cls != ErrorClass::kE4) check_bounds(cls, v, verdict);
  return verdict;
}

// Relative errors where the reference is of its row's size; the rest by absolute error, in units of
// the row, so that one number near zero does not decide.
void Pool::add_row(Side& side, const Values& v, std::span<const f64> results, i64 row) {
  std::size_t first = static_cast<std::size_t>(row * v.columns);
  std::span<const f64> golden = v.golden.subspan(first, static_cast<std::size_t>(v.columns));
  f64 size = std::sqrt(mean_square(golden));
  f64 small = std::max(small_limit(v.type), kSmallPart * size);
  f64 up = 0, out = 0;
  for (std::size_t i = 0; i < golden.size(); ++i) {
    f64 e = results[first + i] - golden[i];
    f64 ulps = e / ulp(v.type, golden[i]);
    side.squares += e * e;
    up += ulps;
    out += golden[i] < 0 ? -ulps : ulps;
    if (std::fabs(golden[i]) < small) {
      side.small_max = std::max(side.small_max, std::fabs(e) / small);
    } else {
      side.relative += std::fabs(e / golden[i]);
      side.relative_max = std::max(side.relative_max, std::fabs(e / golden[i]));
      side.large_max = std::max(side.large_max, std::fabs(e) / small);
    }
  }
  side.bias_ulps += up;
  side.shrink_ulps += out;
  side.rows_up += up > 0;
  side.rows_down += up < 0;
  side.rows_out += out > 0;
  side.rows_in += out < 0;
}

void Pool::add(const Values& v) {
  i64 rows = static_cast<i64>(v.golden.size()) / v.columns;
  for (i64 row = 0; row < rows; ++row) {
    add_row(got_, v, v.got, row);
    add_row(naive_, v, v.naive, row);
    std::size_t first = static_cast<std::size_t>(row * v.columns);
    std::span<const f64> golden = v.golden.subspan(first, static_cast<std::size_t>(v.columns));
    f64 small = std::max(small_limit(v.type), kSmallPart * std::sqrt(mean_square(golden)));
    for (f64 g : golden) {
      f64 step = ulp(v.type, g);
      floor_squares_ += step * step / 12;  // of an even spread over one step
      if (std::fabs(g) < small) continue;
      floor_relative_ += step / 4 / std::fabs(g);
      ++large_;
    }
  }
  type_ = v.type;
  has_offset_ = v.has_offset;
  rows_ += rows;
  elements_ += static_cast<i64>(v.golden.size());
}

// Errors of a row tend to share a sign, so that rows are counted, not elements; and a constant's
// last bit leans too, so that the lean must also be a visible part of an ulp, and not be there in
// the same-type run. Asked of 16-bit results, where the last rounding is most of the error.
std::string Pool::bias_failure() const {
  if (type_ == isa::DType::kF32 || rows_ < kBiasRowsMin) return "";
  struct Test {
    const char* what;
    f64 ours, theirs, ulps;
  };
  const f64 n = static_cast<f64>(elements_);
  const Test tests[] = {{"up or down", sigmas(got_.rows_up, got_.rows_down),
                         sigmas(naive_.rows_up, naive_.rows_down), got_.bias_ulps / n},
                        {"towards or from zero", sigmas(got_.rows_out, got_.rows_in),
                         sigmas(naive_.rows_out, naive_.rows_in), got_.shrink_ulps / n}};
  for (const Test& t : tests) {
    if (t.ours <= kBiasSigmas || t.theirs > kBiasSigmas || std::fabs(t.ulps) < kBiasUlps) continue;
    return fmt::format("errors lean {}: {:.1f} sigma, {:.2f} ulp in the mean", t.what, t.ours,
                       t.ulps);
  }
  return "";
}

PoolVerdict Pool::judge(ErrorClass cls) const {
  PoolVerdict verdict;
  if (elements_ == 0) return verdict;
  f64 n = static_cast<f64>(elements_);
  f64 m = static_cast<f64>(std::max<i64>(large_, 1));
  verdict.rho = std::sqrt(ratio(got_.squares / n, naive_.squares / n, floor_squares_ / n));
  verdict.mere = ratio(got_.relative / m, naive_.relative / m, floor_relative_ / m);
  verdict.mare = ratio(got_.relative_max, naive_.relative_max, 2 * floor_relative_ / m);
  if (!has_ratios(cls)) return verdict;
  if (elements_ < (is_product(cls) ? kPoolProductsMin : kPoolElementsMin)) return verdict;
  verdict.judged = true;
  f64 rho_most = is_product(cls) ? rho_of(cls, has_offset_) : kRmseRatio;
  if (verdict.rho > rho_most) {
    verdict.failure =
        fmt::format("RMSE is {:.2f} of the same-type run's, at most {:.2f}", verdict.rho, rho_most);
  } else if (cls == ErrorClass::kE4 && verdict.mere > kMereRatio) {
    verdict.failure = fmt::format("mean relative error ratio {:.2f}", verdict.mere);
  } else if (cls == ErrorClass::kE4 && verdict.mare > kMareRatio) {
    verdict.failure = fmt::format("largest relative error ratio {:.2f}", verdict.mare);
  } else if (cls == ErrorClass::kE4 &&
             got_.small_max >
                 kMareRatio * std::max({naive_.small_max, naive_.large_max, 0x1p-22})) {
    verdict.failure = fmt::format("small values are off by {:.3g} of their domain", got_.small_max);
  } else {
    verdict.failure = bias_failure();
  }
  verdict.pass = verdict.failure.empty();
  return verdict;
}

}  // namespace tg::conformance
