// Activations rounded to int8 before a product (the attribute xq, isa.md 3): scale is the largest
// magnitude over 127, codes are the nearest integers to the exact quotient, ties to even.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/codecs.h"

namespace tg::backend::cpu::TG_VARIANT {

static inline V magnitude(V x) {
  return max(x, sub(zero(), x));
}

// Of n numbers, a multiple of 32; NaN if one of them is not finite.
static inline f32 largest_magnitude(const f32* x, i64 n) {
  V top = zero(), nothing = zero();
  for (i64 i = 0; i < n; i += kLanes) {
    V v = load(x + i);
    top = max(top, magnitude(v));
    nothing = fma(v, zero(), nothing);
  }
  return largest(top) + sum(nothing);
}

static inline void quantize_exactly(const f32* x, f32 scale, f32 (&codes)[kBlock]) {
  for (i64 i = 0; i < kBlock; ++i) {
    codes[i] = static_cast<f32>(__builtin_nearbyint(f64{x[i]} / f64{scale}));
  }
}

// Codes of a block of 32 and, for each 16 of them, their sum. REQUIRES: scale is finite.
static inline void quantize_block(const f32* x, f32 scale, i8* q, f32 (&sums)[2]) {
  // Below this the reciprocal might overflow; above, a product with it is within 2^-15 of the
  // quotient, which decides all but near ties.
  constexpr f32 kScaleMin = 0x1p-100f, kSure = 0.5f - 0x1p-14f;
  V inverse = set1(scale >= kScaleMin ? 1.0f / scale : 0.0f);
  V low = mul(load(x), inverse);
  V high = mul(load(x + kLanes), inverse);
  V low_code = round_even(low);
  V high_code = round_even(high);
  V doubt = max(magnitude(sub(low, low_code)), magnitude(sub(high, high_code)));
  if (scale > 0 && (scale < kScaleMin || largest(doubt) > kSure)) {
    f32 codes[kBlock];
    quantize_exactly(x, scale, codes);
    low_code = load(codes);
    high_code = load(codes + kLanes);
  }
  store_i8(q, low_code);
  store_i8(q + kLanes, high_code);
  sums[0] = sum(low_code);
  sums[1] = sum(high_code);
}

// What products with the codec's codes start from or have taken off, so that its offset or min is
// accounted for: see Int8Rows.
template <typename Codec>
static inline void put_sums(const Int8Rows& rows, i64 at, f32 scale, const f32 (&sums)[2]) {
  constexpr int kParts = kBlock / Codec::kSub;
  for (int part = 0; part < kParts; ++part) {
    f32 total = kParts == 1 ? sums[0] + sums[1] : sums[part];
    i64 to = at + part * rows.tile_rows;
    if constexpr (Codec::kMin) {
      rows.minus[to] = -(scale * total);
    } else {
      rows.start[to] = -Codec::kOffset * static_cast<i32>(total);
    }
  }
}

// Row x becomes row `row` of `rows`.
template <typename Codec>
static void quantize_row(const f32* x, i64 k, bool whole, i64 row, const Int8Rows& rows) {
  i64 tile = row / rows.tile_rows;
  i64 lane = row % rows.tile_rows;
  f32 top = whole ? largest_magnitude(x, k) : 0.0f;
  for (i64 b = 0; b < k / kBlock; ++b) {
    i64 block = (tile * (k / kBlock) + b) * rows.tile_rows;
    f32 scale = (whole ? top : largest_magnitude(x + b * kBlock, kBlock)) / 127.0f;
    f32 sums[2] = {};
    i8* q = rows.q + (block + lane) * kBlock;
    bool is_finite = scale - scale == 0.0f;
    quantize_block(x + b * kBlock, is_finite ? scale : 0.0f, q, sums);
    rows.scale[block + lane] = scale;
    put_sums<Codec>(rows, block * (kBlock / Codec::kSub) + lane, scale, sums);
  }
}

template <typename Codec>
static void quantize_share(const QuantizeArgs& a, Share rows) {
  if constexpr (Codec::kCodes) {
    for (i64 row = rows.begin; row < rows.end; ++row) {
      quantize_row<Codec>(a.x + row * a.x_stride, a.k, a.whole_rows, row, a.rows);
    }
  }
}

static void quantize(const QuantizeArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.tokens, part, parts);
  with_codec(a.form, [&]<typename Codec>() { quantize_share<Codec>(a, rows); });
}

}  // namespace tg::backend::cpu::TG_VARIANT
