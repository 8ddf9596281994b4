// 16-bit and 8-bit floats to and from f32, bit by bit: the same on every compiler and machine.
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

f32 f32_from_e4m3(u8 bits) {
  u32 sign = static_cast<u32>(bits & 0x80) << 24;
  u32 magnitude = bits & 0x7F;
  if (magnitude == 0x7F) return std::bit_cast<f32>(sign | 0x7FC00000);
  // 2^120 moves the exponent's bias from 7 to 127, and makes subnormals normal.
  f32 value = std::bit_cast<f32>(magnitude << 20) * 0x1p120f;
  return std::bit_cast<f32>(std::bit_cast<u32>(value) | sign);
}

// The magnitude's code in a small float with `fraction` bits and the given exponent bias.
// REQUIRES: `magnitude`, the bits of an f32 without its sign, rounds to a finite value of it.
static u32 small_float(u32 magnitude, u32 fraction, u32 bias) {
  u32 exponent = magnitude >> 23;
  u32 shift = 23 - fraction;
  if (exponent > 127 - bias) return round_shift(magnitude - ((127 - bias) << 23), shift);
  // Subnormal: one more place is dropped for each step below the least exponent.
  u32 below = 127 - bias + 1 - exponent;
  if (below > fraction + 1) return 0;
  return round_shift((magnitude & 0x7FFFFF) | 0x800000, shift + below);
}

u8 e4m3_from_f32(f32 value) {
  u32 bits = std::bit_cast<u32>(value);
  u32 sign = bits >> 24 & 0x80;
  u32 magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<u8>(sign | 0x7F);
  if (magnitude >= 0x43E00000) return static_cast<u8>(sign | 0x7E);  // 448 and up
  return static_cast<u8>(sign | small_float(magnitude, 3, 7));
}

// e5m2 is the upper byte of binary16.
f32 f32_from_e5m2(u8 bits) {
  return f32_from_f16(static_cast<u16>(bits << 8));
}

u8 e5m2_from_f32(f32 value) {
  u32 bits = std::bit_cast<u32>(value);
  u32 sign = bits >> 24 & 0x80;
  u32 magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<u8>(sign | 0x7F);
  if (magnitude >= 0x47600000) return static_cast<u8>(sign | 0x7B);  // 57,344 and up
  return static_cast<u8>(sign | small_float(magnitude, 2, 15));
}

f32 round_to(DType type, f32 value) {
  switch (type) {
    case DType::kF32: return value;
    case DType::kF16: return f32_from_f16(f16_from_f32(value));
    case DType::kBf16: return f32_from_bf16(bf16_from_f32(value));
    case DType::kE4m3: return f32_from_e4m3(e4m3_from_f32(value));
    case DType::kE5m2: return f32_from_e5m2(e5m2_from_f32(value));
    default: break;
  }
  TG_ASSERT(type == DType::kF32);  // Only float types round.
  return value;
}

}  // namespace tg::isa
