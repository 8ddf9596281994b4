// A row p gives p*f modulo a turn, to within the table's rounding u. Row 1 gives f to within u; if
// f is known to within e, row 2p gives it to within u/2p, as long as the turns can be counted,
// which needs 2p*e < pi. Doubling p from row 1 on keeps that true and ends far below the rounding
// of f32.
#include "model/onnx/rotary_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/onnx/weights.h"

namespace tg::onnx {
namespace {

constexpr i64 kFirstRowsChecked = 32;

class Tables {
 public:
  Tables(const Tensor& cos, const Tensor& sin) : cos_(cos), sin_(sin) {}

  i64 positions() const { return cos_.dims[0]; }
  i64 pairs() const { return cos_.dims[1]; }
  f64 cosine(i64 p, i64 i) const { return f64{real_at(cos_, p * pairs() + i)}; }
  f64 sine(i64 p, i64 i) const { return f64{real_at(sin_, p * pairs() + i)}; }
  f64 angle(i64 p, i64 i) const { return std::atan2(sine(p, i), cosine(p, i)); }
  // The relative rounding of an element.
  f64 unit() const {
    if (cos_.type == ElementType::kFloat) return 0x1p-24;
    return cos_.type == ElementType::kFloat16 ? 0x1p-11 : 0x1p-8;
  }

 private:
  const Tensor& cos_;
  const Tensor& sin_;
};

f64 frequency(const Tables& tables, i64 i) {
  f64 estimate = tables.angle(1, i);
  for (i64 p = 2; p < tables.positions(); p *= 2) {
    f64 rows = static_cast<f64>(p);
    f64 off = tables.angle(p, i) - estimate * rows;
    estimate += std::remainder(off, 2 * std::numbers::pi) / rows;
  }
  return estimate;
}

f64 plain(f64 base, i64 pairs, i64 i) {
  return std::pow(base, -static_cast<f64>(i) / static_cast<f64>(pairs));
}

// The base of plain frequencies base^(-i/pairs), from the pair that tells it best; 0 if the first
// frequency is not 1.
f64 measure_base(const std::vector<f64>& frequencies, f64 error) {
  if (frequencies.size() < 2 || std::abs(frequencies[0] - 1) > error + 0x1p-20) return 0;
  f64 pairs = static_cast<f64>(frequencies.size());
  f64 base = 0;
  f64 best = 1;
  for (std::size_t i = 1; i < frequencies.size(); ++i) {
    f64 f = frequencies[i];
    if (!(f > 0)) return 0;
    f64 uncertainty = (error / f + 0x1p-22) * pairs / static_cast<f64>(i);
    if (uncertainty >= best) continue;
    best = uncertainty;
    base = std::pow(f, -pairs / static_cast<f64>(i));
  }
  return base;
}

// The plain frequencies of a base if they are the measured ones, otherwise nothing.
std::vector<f32> plain_table(f64 base, const std::vector<f64>& measured, f64 error) {
  std::vector<f32> out;
  for (std::size_t i = 0; i < measured.size(); ++i) {
    f64 f = plain(base, static_cast<i64>(measured.size()), static_cast<i64>(i));
    if (!(std::abs(f - measured[i]) <= error + f * 0x1p-21)) return {};
    out.push_back(static_cast<f32>(f));
  }
  return out;
}

// Published bases have few digits: the first that fits is taken, and its frequencies are computed
// anew, so that a table's rounding leaves no trace. Scaled frequencies stay as measured.
std::vector<f32> settle(const std::vector<f64>& measured, f64 error) {
  constexpr i64 kDigitsMax = 9;
  f64 base = measure_base(measured, error);
  for (i64 digits = 1; digits <= kDigitsMax && base >= 2; ++digits) {
    f64 unit = std::pow(10.0, std::floor(std::log10(base)) - static_cast<f64>(digits - 1));
    std::vector<f32> out = plain_table(std::round(base / unit) * unit, measured, error);
    if (!out.empty()) return out;
  }
  std::vector<f32> out;
  for (f64 f : measured) out.push_back(static_cast<f32>(f));
  return out;
}

Status check_row(const Tables& tables, const RotaryTable& table, i64 p) {
  for (i64 i = 0; i < tables.pairs(); ++i) {
    f64 angle = f64{static_cast<f32>(p) * table.inverse_frequencies[static_cast<std::size_t>(i)]};
    f64 magnitude = f64{table.magnitude};
    f64 tolerance = magnitude * (8 * tables.unit() + std::abs(angle) * 0x1p-22);
    f64 off = std::max(std::abs(magnitude * std::cos(angle) - tables.cosine(p, i)),
                       std::abs(magnitude * std::sin(angle) - tables.sine(p, i)));
    if (!(off <= tolerance))
      return Error{Code::kUnsupported,
                   fmt::format("onnx: the rotary tables are not cos and sin of position times a "
                               "frequency: off by {:.3g} at position {}, pair {}",
                               off, p, i)};
  }
  return {};
}

Status check_shapes(const Tensor& cos, const Tensor& sin) {
  bool is_good = cos.dims.size() == 2 && cos.dims == sin.dims && cos.type == sin.type &&
                 is_real(cos.type) && cos.dims[0] >= 2 && cos.dims[1] >= 1 &&
                 cos.dims[1] <= kRotaryPairsMax;
  if (is_good) return {};
  return Error{Code::kInvalid,
               fmt::format("onnx: rotary tables are {}{} and {}{}", name(cos.type),
                           dims_text(cos.dims), name(sin.type), dims_text(sin.dims))};
}

}  // namespace

Result<RotaryTable> recover_rotary(const Tensor& cos, const Tensor& sin) {
  TG_TRY(check_shapes(cos, sin));
  Tables tables(cos, sin);
  RotaryTable out;
  out.positions = tables.positions();
  out.magnitude = static_cast<f32>(tables.cosine(0, 0));
  if (!std::isfinite(out.magnitude) || out.magnitude <= 0)
    return Error{Code::kUnsupported,
                 fmt::format("onnx: the rotary tables begin with {}", out.magnitude)};
  std::vector<f64> measured;
  for (i64 i = 0; i < tables.pairs(); ++i) measured.push_back(frequency(tables, i));
  f64 error = 4 * tables.unit() / static_cast<f64>(tables.positions());
  out.inverse_frequencies = settle(measured, error);
  for (i64 p = 0; p < std::min(tables.positions(), kFirstRowsChecked); ++p)
    TG_TRY(check_row(tables, out, p));
  for (i64 p = kFirstRowsChecked; p < tables.positions(); p *= 2) TG_TRY(check_row(tables, out, p));
  TG_TRY(check_row(tables, out, tables.positions() - 1));
  return out;
}

}  // namespace tg::onnx
