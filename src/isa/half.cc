// 16-bit floats to and from f32, bit by bit: the same on every compiler and machine.
#include <bit>
#include <cmath>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

f32 f32_from_f16(u16 bits) {
  u32 sign = static_cast<u32>(bits & 0x8000) << 16;
  u32 exponent = bits >> 10 & 0x1F;
  u32 fraction = bits & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<f32>(sign | 0x7F800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<f32>(sign | (exponent + 112) << 23 | fraction << 13);
  f32 magnitude = static_cast<f32>(fraction) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

// Drops `shift` low bits of `value`, rounding to nearest even.
static u32 round_shift(u32 value, u32 shift) {
  u32 kept = value >> shift;
  u32 rest = value & ((1u << shift) - 1);
  u32 half = 1u << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
}

u16 f16_from_f32(f32 value) {
  u32 bits = std::bit_cast<u32>(value);
  u32 sign = bits >> 16 & 0x8000;
  u32 magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<u16>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
  if (magnitude >= 0x477FF000) return static_cast<u16>(sign | 0x7C00);  // 65,520 and up: infinity
  if (magnitude >= 0x38800000)
    return static_cast<u16>(sign | round_shift(magnitude - 0x38000000, 13));
  if (magnitude < 0x33000000) return static_cast<u16>(sign);  // below half of the least subnormal
  u32 exponent = magnitude >> 23;
  u32 fraction = (magnitude & 0x7FFFFF) | 0x800000;
  return static_cast<u16>(sign | round_shift(fraction, 126 - exponent));
}

f32 f32_from_bf16(u16 bits) {
  return std::bit_cast<f32>(static_cast<u32>(bits) << 16);
}

u16 bf16_from_f32(f32 value) {
  u32 bits = std::bit_cast<u32>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<u16>(bits >> 16 | 0x40);
  return static_cast<u16>(round_shift(bits, 16));
}

f32 round_to(DType type, f32 value) {
  switch (type) {
    case DType::kF32: return value;
    case DType::kF16: return f32_from_f16(f16_from_f32(value));
    case DType::kBf16: return f32_from_bf16(bf16_from_f32(value));
    default: break;
  }
  TG_ASSERT(type == DType::kF32);  // Only float types round.
  return value;
}

}  // namespace tg::isa
