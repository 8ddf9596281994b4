// Chooses the vector type by the flags this file's includer is compiled with (options.cmake) and
// names the namespace its kernels live in. Adds what is the same for all: exp and its friends.
#pragma once

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define TG_VARIANT amx
#define TG_VARIANT_NAME "amx"
#elif defined(__AVX512BF16__)
#define TG_VARIANT bf16
#define TG_VARIANT_NAME "avx512bf16"
#elif defined(__AVX512VNNI__)
#define TG_VARIANT vnni
#define TG_VARIANT_NAME "avx512vnni"
#else
#define TG_VARIANT avx512
#define TG_VARIANT_NAME "avx512"
#endif
#include "backend/cpu/kernels/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define TG_VARIANT avx2
#define TG_VARIANT_NAME "avx2"
#include "backend/cpu/kernels/simd_avx2.h"
#else
#define TG_VARIANT base
#define TG_VARIANT_NAME "base"
#include "backend/cpu/kernels/simd_base.h"
#endif

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr const char* kVariantName = TG_VARIANT_NAME;
inline constexpr i64 kLanes = 16;
inline constexpr i64 kBlock = 32;  // columns of a block of activations

// The lanes [i, min(i + 16, n)) of a row, zero beyond its end.
static inline V load_row(const f32* row, i64 i, i64 n) {
  return n - i >= kLanes ? load(row + i) : load_first(row + i, n - i);
}
static inline void store_row(f32* row, i64 i, i64 n, V v) {
  if (n - i >= kLanes) {
    store(row + i, v);
  } else {
    store_first(row + i, v, n - i);
  }
}

// exp(x) within 2 ulp for x in [-87, 88]; 0 below, exp(88) above. Reduction to |r| <= ln(2)/2 in
// two parts (Cody and Waite), then the Taylor polynomial of degree 7, whose error there is 2^-27.
static inline V exp(V x) {
  const V lowest = set1(-87.0f);
  V clamped = max(min(x, set1(88.0f)), lowest);
  V n = round_even(mul(clamped, set1(1.44269504f)));
  V r = fma(n, set1(-0.693359375f), clamped);
  r = fma(n, set1(2.12194440e-4f), r);
  V p = set1(1.0f / 5040);
  p = fma(p, r, set1(1.0f / 720));
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  return if_less(x, lowest, zero(), mul(p, pow2(n)));
}

// x / (1 + exp(-y)).
static inline V times_sigmoid(V x, V y) {
  return div(x, add(set1(1.0f), exp(sub(zero(), y))));
}

}  // namespace tg::backend::cpu::TG_VARIANT
