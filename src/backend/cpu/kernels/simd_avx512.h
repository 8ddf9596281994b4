// Sixteen lanes of f32 in one AVX-512 register. The same functions exist for AVX2 and for plain
// x86-64-v2; kernels are written once against them. Everything has internal linkage by its
// namespace: code compiled for one instruction set must never be merged with another's.
#pragma once

#include <immintrin.h>

#include "base/types.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr int kTileTokens = 8;  // tokens whose accumulators fit the registers

using V = __m512;
using I = __m512i;

static inline V zero() {
  return _mm512_setzero_ps();
}
static inline V set1(f32 x) {
  return _mm512_set1_ps(x);
}
static inline V load(const f32* p) {
  return _mm512_loadu_ps(p);
}
static inline void store(f32* p, V v) {
  _mm512_storeu_ps(p, v);
}
static inline __mmask16 first(i64 n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
// The first n lanes, 0 < n < 16; the rest read as zero.
static inline V load_first(const f32* p, i64 n) {
  return _mm512_maskz_loadu_ps(first(n), p);
}
static inline void store_first(f32* p, V v, i64 n) {
  _mm512_mask_storeu_ps(p, first(n), v);
}

static inline V add(V a, V b) {
  return _mm512_add_ps(a, b);
}
static inline V sub(V a, V b) {
  return _mm512_sub_ps(a, b);
}
static inline V mul(V a, V b) {
  return _mm512_mul_ps(a, b);
}
static inline V div(V a, V b) {
  return _mm512_div_ps(a, b);
}
static inline V min(V a, V b) {
  return _mm512_min_ps(a, b);
}
static inline V max(V a, V b) {
  return _mm512_max_ps(a, b);
}
// a * b + c, rounded once where the instruction set can.
static inline V fma(V a, V b, V c) {
  return _mm512_fmadd_ps(a, b, c);
}
// To the nearest integer, ties to even.
static inline V round_even(V a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// a < b ? x : y, lane by lane.
static inline V if_less(V a, V b, V x, V y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
// 2^n for integral n in [-126, 127].
static inline V pow2(V n) {
  I bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}
// 0, 1, .. 15.
static inline V iota() {
  return _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

static inline I load_u8(const u8* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline I load_i8(const i8* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline I load_u32(const u32* p) {
  return _mm512_loadu_si512(p);
}
static inline I bit_and(I a, i32 b) {
  return _mm512_and_si512(a, _mm512_set1_epi32(b));
}
static inline I bit_or(I a, I b) {
  return _mm512_or_si512(a, b);
}
static inline I shift_right(I a, int bits) {
  return _mm512_srli_epi32(a, static_cast<unsigned>(bits));
}
static inline I shift_left(I a, int bits) {
  return _mm512_slli_epi32(a, static_cast<unsigned>(bits));
}
static inline I add_int(I a, i32 b) {
  return _mm512_add_epi32(a, _mm512_set1_epi32(b));
}
static inline V to_f32(I a) {
  return _mm512_cvtepi32_ps(a);
}

// The lanes' bits as floats.
static inline V as_f32(I a) {
  return _mm512_castsi512_ps(a);
}
// Sixteen bytes, to look up by bytes in [0, 16).
static inline I make_table(const u8 (&bytes)[16]) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}
static inline I look_up(I codes, I table) {
  return _mm512_shuffle_epi8(table, codes);
}

// The four bytes at x in every lane.
static inline I spread(const i8* x) {
  i32 word;
  __builtin_memcpy(&word, x, sizeof(word));
  return _mm512_set1_epi32(word);
}
// Adds to each lane the products of its four unsigned bytes of w with its four signed bytes,
// exactly. Codes up to 127 leave a sum of two products within 16 bits.
template <bool kWide>
static inline I add_products(I sum, I w, I bytes) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sum, w, bytes);
#else
  I ones = _mm512_set1_epi16(1);
  if constexpr (!kWide) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(w, bytes), ones));
  }
  I even = _mm512_and_si512(w, _mm512_set1_epi16(255));
  I even_x = _mm512_srai_epi16(_mm512_slli_epi16(bytes, 8), 8);
  I odd = _mm512_madd_epi16(_mm512_srli_epi16(w, 8), _mm512_srai_epi16(bytes, 8));
  return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_madd_epi16(even, even_x), odd));
#endif
}
static inline I set1_int(i32 x) {
  return _mm512_set1_epi32(x);
}
// Whole numbers within [-128, 127].
static inline void store_i8(i8* p, V v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

static inline V load_f16(const u16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline V load_bf16(const u16* p) {
  I wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline void store_f16(u16* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline __m256 upper(V v) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}
// Sums in a tree whose first level adds lane i to lane i + 8, then + 4, + 2, + 1: the order is the
// same in every variant.
static inline f32 sum(V v) {
  __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), upper(v));
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}
static inline f32 largest(V v) {
  return _mm512_reduce_max_ps(v);
}

}  // namespace tg::backend::cpu::TG_VARIANT
