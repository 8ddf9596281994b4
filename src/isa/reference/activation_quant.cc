#include "isa/reference/activation_quant.h"

#include <algorithm>
#include <cmath>

#include "isa/codec.h"
#include "isa/mini_float.h"

namespace tg::isa {

namespace {

f64 largest_magnitude(std::span<const f64> x) {
  f64 largest = 0.0;
  for (f64 v : x) largest = std::max(largest, std::fabs(v));
  return largest;
}

void quantize_int8(std::span<f64> x) {
  f64 scale = static_cast<f32>(largest_magnitude(x)) / 127.0f;
  for (f64& v : x) v = scale == 0.0 ? 0.0 : std::nearbyint(v / scale) * scale;
}

void quantize_fp8(std::span<f64> x) {
  f64 scale = static_cast<f32>(largest_magnitude(x)) / 448.0f;
  for (f64& v : x) v = scale == 0.0 ? 0.0 : round_mini(kE4m3, v / scale) * scale;
}

// OCP MX: the scale puts the largest magnitude into the top binade of e2m1.
void quantize_mxfp4(std::span<f64> x) {
  f64 largest = largest_magnitude(x);
  if (largest == 0.0) return;
  f64 scale = std::ldexp(1.0, std::clamp(std::ilogb(largest) - 2, -127, 127));
  for (f64& v : x) v = round_mini(kE2m1, v / scale) * scale;
}

void round_bf16(std::span<f64> x) {
  for (f64& v : x) v = round_to(DType::kBf16, static_cast<f32>(v));
}

void by_block(std::span<f64> row, std::size_t block, void (*quantize)(std::span<f64>)) {
  for (std::size_t i = 0; i < row.size(); i += block)
    quantize(row.subspan(i, std::min(block, row.size() - i)));
}

}  // namespace

void quantize_activations(ActivationQuant xq, std::span<f64> row) {
  switch (xq) {
    case ActivationQuant::kNone:
    case ActivationQuant::kCount: return;
    case ActivationQuant::kInt8Block32: return by_block(row, 32, quantize_int8);
    case ActivationQuant::kInt8Token: return by_block(row, row.size(), quantize_int8);
    case ActivationQuant::kFp8Block128: return by_block(row, 128, quantize_fp8);
    case ActivationQuant::kMxfp4: return by_block(row, 32, quantize_mxfp4);
    case ActivationQuant::kBf16: return round_bf16(row);
  }
}

}  // namespace tg::isa
