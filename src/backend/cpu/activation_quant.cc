#include "backend/cpu/activation_quant.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/half.h"
#include "base/assert.h"
#include "isa/mini_float.h"

namespace tg::backend::cpu {

namespace {

using isa::kE2m1;
using isa::kE4m3;
using isa::round_mini;

f32 largest_magnitude(const f32* x, i64 n) {
  f32 largest = 0.0f;
  for (i64 i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

void quantize_int8(const f32* x, i64 n, f32* y) {
  f64 scale = largest_magnitude(x, n) / 127.0f;
  for (i64 i = 0; i < n; ++i) {
    y[i] = scale == 0.0 ? 0.0f : static_cast<f32>(std::nearbyint(x[i] / scale) * scale);
  }
}

void quantize_fp8(const f32* x, i64 n, f32* y) {
  f64 scale = largest_magnitude(x, n) / 448.0f;
  for (i64 i = 0; i < n; ++i) {
    y[i] = scale == 0.0 ? 0.0f : static_cast<f32>(round_mini(kE4m3, x[i] / scale) * scale);
  }
}

// OCP MX: the scale puts the largest magnitude into the top binade of e2m1.
void quantize_mxfp4(const f32* x, i64 n, f32* y) {
  f32 largest = largest_magnitude(x, n);
  int exponent = largest == 0.0f ? 0 : std::clamp(std::ilogb(largest) - 2, -127, 127);
  f64 scale = std::ldexp(1.0, exponent);
  for (i64 i = 0; i < n; ++i) {
    y[i] = static_cast<f32>(round_mini(kE2m1, x[i] / scale) * scale);
  }
}

void round_bf16(const f32* x, i64 n, f32* y) {
  for (i64 i = 0; i < n; ++i) y[i] = bfloat_to_float(float_to_bfloat(x[i]));
}

void by_block(const f32* x, i64 n, f32* y, i64 block, void (*quantize)(const f32*, i64, f32*)) {
  for (i64 i = 0; i < n; i += block) quantize(x + i, std::min(block, n - i), y + i);
}

void round_row(isa::ActivationQuant xq, const f32* x, i64 n, f32* y) {
  switch (xq) {
    case isa::ActivationQuant::kNone:
    case isa::ActivationQuant::kCount: break;
    case isa::ActivationQuant::kInt8Block32: return by_block(x, n, y, 32, quantize_int8);
    case isa::ActivationQuant::kInt8Token: return quantize_int8(x, n, y);
    case isa::ActivationQuant::kFp8Block128: return by_block(x, n, y, 128, quantize_fp8);
    case isa::ActivationQuant::kMxfp4: return by_block(x, n, y, 32, quantize_mxfp4);
    case isa::ActivationQuant::kBf16: return round_bf16(x, n, y);
  }
  TG_ASSERT(xq != isa::ActivationQuant::kNone);
}

}  // namespace

Int8Rounding int8_rounding_of(isa::ActivationQuant xq, PanelForm form) {
  if (!has_codes(form)) return Int8Rounding::kNone;
  if (xq == isa::ActivationQuant::kInt8Block32) return Int8Rounding::kBlock;
  return xq == isa::ActivationQuant::kInt8Token ? Int8Rounding::kRow : Int8Rounding::kNone;
}

void round_activations(const RoundedArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.rows, part, parts);
  for (i64 r = rows.begin; r < rows.end; ++r) round_row(a.xq, a.x + r * a.k, a.k, a.y + r * a.k);
}

}  // namespace tg::backend::cpu
