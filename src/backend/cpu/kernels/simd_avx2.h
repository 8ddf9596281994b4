// Sixteen lanes of f32 in two AVX2 registers (with FMA and F16C); see simd_avx512.h for the
// contract. Operation by operation the results are the bits of the AVX-512 variant.
#pragma once

#include <immintrin.h>

#include "base/types.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr int kTileTokens = 2;

struct V {
  __m256 lo, hi;
};
struct I {
  __m256i lo, hi;
};

static inline V zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
static inline V set1(f32 x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline V load(const f32* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void store(f32* p, V v) {
  _mm256_storeu_ps(p, v.lo);
  _mm256_storeu_ps(p + 8, v.hi);
}
static inline V load_first(const f32* p, i64 n) {
  alignas(32) f32 lanes[16] = {};
  for (i64 i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
static inline void store_first(f32* p, V v, i64 n) {
  alignas(32) f32 lanes[16];
  store(lanes, v);
  for (i64 i = 0; i < n; ++i) p[i] = lanes[i];
}

static inline V add(V a, V b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
static inline V sub(V a, V b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
static inline V mul(V a, V b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
static inline V div(V a, V b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
static inline V min(V a, V b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
static inline V max(V a, V b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
static inline V fma(V a, V b, V c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
static inline V round_even(V a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
}
static inline V if_less(V a, V b, V x, V y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
static inline __m256 pow2_half(__m256 n) {
  __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}
static inline V pow2(V n) {
  return {pow2_half(n.lo), pow2_half(n.hi)};
}
static inline V iota() {
  return {_mm256_set_ps(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set_ps(15, 14, 13, 12, 11, 10, 9, 8)};
}

static inline __m128i load_eight(const void* p) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
static inline I load_u8(const u8* p) {
  return {_mm256_cvtepu8_epi32(load_eight(p)), _mm256_cvtepu8_epi32(load_eight(p + 8))};
}
static inline I load_i8(const i8* p) {
  return {_mm256_cvtepi8_epi32(load_eight(p)), _mm256_cvtepi8_epi32(load_eight(p + 8))};
}
static inline I load_u32(const u32* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
static inline I bit_and(I a, i32 b) {
  __m256i mask = _mm256_set1_epi32(b);
  return {_mm256_and_si256(a.lo, mask), _mm256_and_si256(a.hi, mask)};
}
static inline I bit_or(I a, I b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
static inline I shift_right(I a, int bits) {
  return {_mm256_srli_epi32(a.lo, bits), _mm256_srli_epi32(a.hi, bits)};
}
static inline I shift_left(I a, int bits) {
  return {_mm256_slli_epi32(a.lo, bits), _mm256_slli_epi32(a.hi, bits)};
}
static inline I add_int(I a, i32 b) {
  __m256i other = _mm256_set1_epi32(b);
  return {_mm256_add_epi32(a.lo, other), _mm256_add_epi32(a.hi, other)};
}
static inline V to_f32(I a) {
  return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

static inline V as_f32(I a) {
  return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}
static inline I make_table(const u8 (&bytes)[16]) {
  __m256i table =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  return {table, table};
}
static inline I look_up(I codes, I table) {
  return {_mm256_shuffle_epi8(table.lo, codes.lo), _mm256_shuffle_epi8(table.hi, codes.hi)};
}

template <bool kWide>
static inline __m256i products_half(__m256i w, __m256i bytes) {
  if constexpr (!kWide) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, bytes), _mm256_set1_epi16(1));
  }
  __m256i even = _mm256_and_si256(w, _mm256_set1_epi16(255));
  __m256i even_x = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
  __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(bytes, 8));
  return _mm256_add_epi32(_mm256_madd_epi16(even, even_x), odd);
}
static inline I spread(const i8* x) {
  i32 word;
  __builtin_memcpy(&word, x, sizeof(word));
  __m256i bytes = _mm256_set1_epi32(word);
  return {bytes, bytes};
}
template <bool kWide>
static inline I add_products(I sum, I w, I bytes) {
  return {_mm256_add_epi32(sum.lo, products_half<kWide>(w.lo, bytes.lo)),
          _mm256_add_epi32(sum.hi, products_half<kWide>(w.hi, bytes.hi))};
}
static inline I set1_int(i32 x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
static inline __m128i narrow(__m256 v) {
  __m256i words = _mm256_cvtps_epi32(v);
  return _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
static inline void store_i8(i8* p, V v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(narrow(v.lo), narrow(v.hi)));
}

static inline __m128i load_halves(const u16* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
static inline V load_f16(const u16* p) {
  return {_mm256_cvtph_ps(load_halves(p)), _mm256_cvtph_ps(load_halves(p + 8))};
}
static inline __m256 widen_bf16(const u16* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(p)), 16));
}
static inline V load_bf16(const u16* p) {
  return {widen_bf16(p), widen_bf16(p + 8)};
}
static inline void store_f16(u16* p, V v) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.lo, kMode));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.hi, kMode));
}

static inline f32 sum(V v) {
  __m256 a = _mm256_add_ps(v.lo, v.hi);
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}
static inline f32 largest(V v) {
  __m256 a = _mm256_max_ps(v.lo, v.hi);
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
}

}  // namespace tg::backend::cpu::TG_VARIANT
