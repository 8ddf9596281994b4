// IEEE half and bfloat16 in plain integer arithmetic, rounding to nearest even. For code that may
// not assume F16C; the vector variants use the instruction and give the same bits.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu {

static inline f32 bits_to_float(u32 bits) {
  return __builtin_bit_cast(f32, bits);
}
static inline u32 float_to_bits(f32 x) {
  return __builtin_bit_cast(u32, x);
}

static inline f32 half_to_float(u16 h) {
  u32 sign = static_cast<u32>(h & 0x8000u) << 16;
  u32 magnitude = h & 0x7FFFu;
  // 2^112 moves a half's exponent bias to a float's, and makes its subnormals normal.
  f32 value = magnitude >= 0x7C00u ? bits_to_float(0x7F800000u | (magnitude & 0x3FFu) << 13)
                                   : bits_to_float(magnitude << 13) * 0x1p112f;
  return bits_to_float(float_to_bits(value) | sign);
}

static inline u16 float_to_half(f32 x) {
  u32 bits = float_to_bits(x);
  u32 sign = bits >> 16 & 0x8000u;
  u32 magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {  // NaN stays NaN: quiet, upper payload kept.
    return static_cast<u16>(sign | 0x7E00u | (magnitude >> 13 & 0x1FFu));
  }
  if (magnitude >= 0x47800000u) return static_cast<u16>(sign | 0x7C00u);  // 65536 and above
  if (magnitude < 0x38800000u) {  // Subnormal: adding 0.5 makes the sum's last bit a half's.
    f32 aligned = bits_to_float(magnitude) + 0.5f;
    return static_cast<u16>(sign | (float_to_bits(aligned) - 0x3F000000u));
  }
  u32 rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u) - 0x38000000u;
  return static_cast<u16>(sign | rounded >> 13);
}

static inline f32 bfloat_to_float(u16 b) {
  return bits_to_float(static_cast<u32>(b) << 16);
}

static inline u16 float_to_bfloat(f32 x) {
  u32 bits = float_to_bits(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<u16>(bits >> 16 | 0x40u);
  return static_cast<u16>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace tg::backend::cpu
