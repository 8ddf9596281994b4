// Rows of f32 activations in bf16, for bf16 weights: rounded to one number each (xq=bf16), or as
// exact sums of three.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/simd.h"

namespace tg::backend::cpu::TG_VARIANT {

static inline V upper_bits(V x) {
  return as_f32(bit_and(_mm512_castps_si512(x), static_cast<i32>(0xFFFF0000)));
}
static inline void store_upper(u16* to, V x) {
  I upper = shift_right(_mm512_castps_si512(x), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(upper));
}
// To the nearest bf16, ties to even, overflowing to infinity; a NaN stays one.
static inline V round_bf16(V x) {
  I bits = _mm512_castps_si512(x);
  I odd = bit_and(shift_right(bits, 16), 1);
  I rounded = add_int(_mm512_add_epi32(bits, odd), 0x7FFF);
  __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return as_f32(_mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x00400000)));
}

// Three parts are bits by truncation, so that nothing overflows and what is left is exact.
template <int kParts>
static void split_row(const f32* x, i64 k, i64 row, const SplitRows& rows) {
  i64 blocks = (k + kBlock - 1) / kBlock;
  i64 tile = row / rows.tile_rows;
  for (i64 c = 0; c < blocks * kBlock; c += kLanes) {
    i64 block = (tile * blocks + c / kBlock) * kParts;
    V left = c < k ? load_row(x, c, k) : zero();
    for (i64 part = 0; part < kParts; ++part) {
      i64 at = (block + part) * rows.tile_rows + row % rows.tile_rows;
      V bits = kParts == 1 ? round_bf16(left) : upper_bits(left);
      store_upper(rows.parts + at * kBlock + c % kBlock, bits);
      if constexpr (kParts > 1) left = sub(left, bits);
    }
  }
}

// REQUIRES: a.rows.each is 1 or kSplitParts.
static void split(const SplitArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.tokens, part, parts);
  for (i64 row = rows.begin; row < rows.end; ++row) {
    const f32* x = a.x + row * a.x_stride;
    a.rows.each == 1 ? split_row<1>(x, a.k, row, a.rows)
                     : split_row<kSplitParts>(x, a.k, row, a.rows);
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
