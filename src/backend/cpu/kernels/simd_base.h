// Sixteen lanes of f32 in four SSE registers: what every x86-64-v2 machine has. No fused
// multiply-add and no half-precision conversion here, so that fma rounds twice and this variant's
// results differ in the last bits from the other two; see simd_avx512.h for the contract.
#pragma once

#include <smmintrin.h>

#include "backend/cpu/half.h"
#include "base/types.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr int kTileTokens = 1;

struct V {
  __m128 q[4];
};
struct I {
  __m128i q[4];
};

template <typename Op>
static inline V each(Op op) {
  return {{op(0), op(1), op(2), op(3)}};
}
template <typename Op>
static inline I each_int(Op op) {
  return {{op(0), op(1), op(2), op(3)}};
}

static inline V set1(f32 x) {
  return each([x](int) { return _mm_set1_ps(x); });
}
static inline V zero() {
  return set1(0.0f);
}
static inline V load(const f32* p) {
  return each([p](int i) { return _mm_loadu_ps(p + 4 * i); });
}
static inline void store(f32* p, V v) {
  for (int i = 0; i < 4; ++i) _mm_storeu_ps(p + 4 * i, v.q[i]);
}
static inline V load_first(const f32* p, i64 n) {
  alignas(16) f32 lanes[16] = {};
  for (i64 i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
static inline void store_first(f32* p, V v, i64 n) {
  alignas(16) f32 lanes[16];
  store(lanes, v);
  for (i64 i = 0; i < n; ++i) p[i] = lanes[i];
}

static inline V add(V a, V b) {
  return each([&](int i) { return _mm_add_ps(a.q[i], b.q[i]); });
}
static inline V sub(V a, V b) {
  return each([&](int i) { return _mm_sub_ps(a.q[i], b.q[i]); });
}
static inline V mul(V a, V b) {
  return each([&](int i) { return _mm_mul_ps(a.q[i], b.q[i]); });
}
static inline V div(V a, V b) {
  return each([&](int i) { return _mm_div_ps(a.q[i], b.q[i]); });
}
static inline V min(V a, V b) {
  return each([&](int i) { return _mm_min_ps(a.q[i], b.q[i]); });
}
static inline V max(V a, V b) {
  return each([&](int i) { return _mm_max_ps(a.q[i], b.q[i]); });
}
static inline V fma(V a, V b, V c) {
  return add(mul(a, b), c);
}
static inline V round_even(V a) {
  return each(
      [&](int i) { return _mm_round_ps(a.q[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); });
}
static inline V if_less(V a, V b, V x, V y) {
  return each([&](int i) { return _mm_blendv_ps(y.q[i], x.q[i], _mm_cmplt_ps(a.q[i], b.q[i])); });
}
static inline V pow2(V n) {
  return each([&](int i) {
    __m128i bits = _mm_add_epi32(_mm_cvtps_epi32(n.q[i]), _mm_set1_epi32(127));
    return _mm_castsi128_ps(_mm_slli_epi32(bits, 23));
  });
}
static inline V iota() {
  return each([](int i) {
    return _mm_add_ps(_mm_set_ps(3, 2, 1, 0), _mm_set1_ps(static_cast<f32>(4 * i)));
  });
}

static inline __m128i load_four(const void* p) {
  i32 word;
  __builtin_memcpy(&word, p, sizeof(word));
  return _mm_cvtsi32_si128(word);
}
static inline I load_u8(const u8* p) {
  return each_int([p](int i) { return _mm_cvtepu8_epi32(load_four(p + 4 * i)); });
}
static inline I load_i8(const i8* p) {
  return each_int([p](int i) { return _mm_cvtepi8_epi32(load_four(p + 4 * i)); });
}
static inline I load_u32(const u32* p) {
  return each_int(
      [p](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 4 * i)); });
}
static inline I bit_and(I a, i32 b) {
  return each_int([&](int i) { return _mm_and_si128(a.q[i], _mm_set1_epi32(b)); });
}
static inline I bit_or(I a, I b) {
  return each_int([&](int i) { return _mm_or_si128(a.q[i], b.q[i]); });
}
static inline I shift_right(I a, int bits) {
  return each_int([&](int i) { return _mm_srli_epi32(a.q[i], bits); });
}
static inline I shift_left(I a, int bits) {
  return each_int([&](int i) { return _mm_slli_epi32(a.q[i], bits); });
}
static inline I add_int(I a, i32 b) {
  return each_int([&](int i) { return _mm_add_epi32(a.q[i], _mm_set1_epi32(b)); });
}
static inline V to_f32(I a) {
  return each([&](int i) { return _mm_cvtepi32_ps(a.q[i]); });
}

static inline V as_f32(I a) {
  return each([&](int i) { return _mm_castsi128_ps(a.q[i]); });
}
static inline I make_table(const u8 (&bytes)[16]) {
  return each_int([&](int) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); });
}
static inline I look_up(I codes, I table) {
  return each_int([&](int i) { return _mm_shuffle_epi8(table.q[i], codes.q[i]); });
}

template <bool kWide>
static inline __m128i products_quarter(__m128i w, __m128i bytes) {
  if constexpr (!kWide) {
    return _mm_madd_epi16(_mm_maddubs_epi16(w, bytes), _mm_set1_epi16(1));
  }
  __m128i even = _mm_and_si128(w, _mm_set1_epi16(255));
  __m128i even_x = _mm_srai_epi16(_mm_slli_epi16(bytes, 8), 8);
  __m128i odd = _mm_madd_epi16(_mm_srli_epi16(w, 8), _mm_srai_epi16(bytes, 8));
  return _mm_add_epi32(_mm_madd_epi16(even, even_x), odd);
}
static inline I spread(const i8* x) {
  i32 word;
  __builtin_memcpy(&word, x, sizeof(word));
  __m128i bytes = _mm_set1_epi32(word);
  return each_int([bytes](int) { return bytes; });
}
template <bool kWide>
static inline I add_products(I sum, I w, I bytes) {
  return each_int(
      [&](int i) { return _mm_add_epi32(sum.q[i], products_quarter<kWide>(w.q[i], bytes.q[i])); });
}
static inline I set1_int(i32 x) {
  return each_int([x](int) { return _mm_set1_epi32(x); });
}
static inline void store_i8(i8* p, V v) {
  __m128i words[4];
  for (int i = 0; i < 4; ++i) words[i] = _mm_cvtps_epi32(v.q[i]);
  __m128i low = _mm_packs_epi32(words[0], words[1]);
  __m128i high = _mm_packs_epi32(words[2], words[3]);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(low, high));
}

static inline V load_f16(const u16* p) {
  alignas(16) f32 lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = half_to_float(p[i]);
  return load(lanes);
}
static inline V load_bf16(const u16* p) {
  return each([p](int i) {
    __m128i wide = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 4 * i)));
    return _mm_castsi128_ps(_mm_slli_epi32(wide, 16));
  });
}
static inline void store_f16(u16* p, V v) {
  alignas(16) f32 lanes[16];
  store(lanes, v);
  for (int i = 0; i < 16; ++i) p[i] = float_to_half(lanes[i]);
}

static inline f32 sum(V v) {
  __m128 b = _mm_add_ps(_mm_add_ps(v.q[0], v.q[2]), _mm_add_ps(v.q[1], v.q[3]));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}
static inline f32 largest(V v) {
  __m128 b = _mm_max_ps(_mm_max_ps(v.q[0], v.q[2]), _mm_max_ps(v.q[1], v.q[3]));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
}

}  // namespace tg::backend::cpu::TG_VARIANT
