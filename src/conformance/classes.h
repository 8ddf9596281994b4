// The tolerance classes E0-E4 of isa.md 9.3 as arithmetic over (golden, same-type, backend) values.
// Each element has a bound of its own; ratios against the same-type run are taken over a pool of
// cases, because a ratio of two small samples says nothing. E5 is in models.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/types.h"
#include "isa/dtype.h"

namespace tg::conformance {

enum class ErrorClass : u8 { kE0, kE1, kE2, kE3, kE3F16c, kE3Xq8, kE4, kE5, kCount };

std::string_view name(ErrorClass cls);
std::optional<ErrorClass> class_by_name(std::string_view name);
// The number that a capability row's err_class holds for it.
u8 number(ErrorClass cls);

// Whether a pool of the class is judged by ratios to the same-type run.
bool has_ratios(ErrorClass cls);

// Published constants; the README says why each was chosen.
inline constexpr f64 kGammaF32 = 32, kRhoF32 = 1.10;
inline constexpr f64 kGammaF16c = 16'384, kRhoF16c = 1.6;
inline constexpr f64 kRhoOffset = 2;  // codecs with an offset: see has_offset() in data.h
inline constexpr f64 kE1Factor = 2;   // scaled add and mul: two roundings of terms of that size
inline constexpr f64 kE2Base = 4, kE2Slope = 2, kE2Absolute = 4, kE2ArgumentMax = 88;
inline constexpr f64 kRmseRatio = 1.5, kMereRatio = 1.5, kMareRatio = 5;
inline constexpr f64 kSmallPart = 1.0 / 16;  // of a row's root mean square
inline constexpr f64 kBiasSigmas = 4, kBiasUlps = 0.1;
inline constexpr i64 kPoolElementsMin = 1'000, kPoolProductsMin = 2'000;
inline constexpr i64 kBiasRowsMin = 64;

// Distance of neighbouring numbers of `type` (f32, f16, bf16) at `value`.
f64 ulp(isa::DType type, f64 value);

// What one case gave: all row-major, the same length, finite unless the reference is not.
struct Values {
  std::span<const f64> golden;
  std::span<const f64> naive;      // the same-type run
  std::span<const f64> got;        // the backend's
  std::span<const f64> magnitude;  // E3: sum |x w|; E2: |argument|; E1: sum of |terms|; or empty
  i64 columns = 1;
  isa::DType type = isa::DType::kF32;  // of the op's result
  bool has_offset = false;             // E3: the weight's codec is scale * code + offset
};

struct ElementVerdict {
  bool pass = true;
  f64 used = 0;         // largest |e| / bound; E0: 0 or infinity
  f64 gamma = 0;        // E3: the gamma that the worst element needed
  std::string failure;  // the first offending element with its values
};

// The element-wise part: all elements, no exceptions. E4 asks here only that results are finite.
ElementVerdict check_elements(ErrorClass cls, const Values& values);

struct PoolVerdict {
  bool judged = false;  // false: too few elements
  bool pass = true;
  f64 rho = 0;   // RMSE(backend) / RMSE(same type)
  f64 mere = 0;  // ratio of mean relative errors
  f64 mare = 0;  // ratio of largest relative errors
  std::string failure;
};

// Sums over the cases of one family and generator.
class Pool {
 public:
  void add(const Values& values);
  PoolVerdict judge(ErrorClass cls) const;

 private:
  struct Side {
    f64 squares = 0, relative = 0, relative_max = 0, small_max = 0, large_max = 0;
    f64 bias_ulps = 0;  // sum of e / ulp, towards infinity
    f64 shrink_ulps = 0;
    i64 rows_up = 0, rows_down = 0, rows_out = 0, rows_in = 0;
  };
  void add_row(Side& side, const Values& values, std::span<const f64> results, i64 row);
  std::string bias_failure() const;

  Side got_, naive_;
  isa::DType type_ = isa::DType::kF32;
  bool has_offset_ = false;
  f64 floor_squares_ = 0;
  f64 floor_relative_ = 0;
  i64 elements_ = 0, large_ = 0, rows_ = 0;
};

}  // namespace tg::conformance
