// y = x w^T over panels, for every codec; here with f32 activations and accumulation, in int8.h
// with int8 ones, in bf16.h and amx_bf16.h with bf16 ones.
//
// The order of one output's additions is fixed: within a sub-block two chains of fused
// multiply-adds, one per half, in column order; their sum, scaled, joins the total; sub-blocks in
// column order. Tiles only decide which outputs are computed side by side, so that a row's bits are
// the same alone, in any batch and on any number of threads.
#pragma once

#include "backend/cpu/kernels/int8.h"
#if defined(__AMX_BF16__)
#include "backend/cpu/kernels/amx_bf16.h"
#endif

namespace tg::backend::cpu::TG_VARIANT {

// Adds sub-block s of `block` for kTokens tokens. x: its first column of the first token.
template <typename Codec, int kTokens>
static inline void add_sub(const typename Codec::Block& block, int s, const f32* x, i64 x_stride,
                           const f32* sums, i64 sums_stride, V (&total)[kTokens]) {
  constexpr int kHalf = Codec::kSub / 2;
  typename Codec::Sub sub(block, s);
  V low[kTokens], high[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) low[t] = high[t] = zero();
  each_pair<Codec>(sub, [&](int j, const Pair& w) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      low[t] = fma(w.low, set1(x[t * x_stride + j]), low[t]);
      high[t] = fma(w.high, set1(x[t * x_stride + j + kHalf]), high[t]);
    }
  });
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    V dot = add(low[t], high[t]);
    if constexpr (Codec::kUnit) {
      total[t] = add(total[t], dot);
    } else {
      total[t] = fma(sub.scale, dot, total[t]);
    }
    if constexpr (Codec::kMin && !Codec::kUnit) {
      V minus = set1(-sums[t * sums_stride]);
      total[t] = fma(sub.min, minus, total[t]);
    }
  }
}

// One panel times kTokens tokens. sums: [kTokens, k / 32], read only for codecs with a min.
// is_first: the panel is in no cache.
template <typename Codec, int kTokens>
static inline void tile(const u8* panel, bool is_first, const f32* x, i64 x_stride, i64 k,
                        const f32* sums, V (&total)[kTokens]) {
  constexpr i64 kColumns = Codec::kSubs * Codec::kSub;
  const typename Codec::Block* block = reinterpret_cast<const typename Codec::Block*>(panel);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) total[t] = zero();
  i64 sums_stride = k / 32;
  i64 column = 0;
  for (; column + kColumns <= k; column += kColumns, ++block) {
    for (int s = 0; s < Codec::kSubs; ++s) {
      if (is_first) prefetch_after<Codec::kSubs>(block, s);
      i64 c = column + s * Codec::kSub;
      add_sub<Codec, kTokens>(*block, s, x + c, x_stride, sums + c / 32, sums_stride, total);
    }
  }
  if (column == k) return;
  // Dense rows may end inside a block: the rest of x must read as zero, not as the next row.
  f32 rest[kTokens][32] = {};
  for (int t = 0; t < kTokens; ++t) {
    for (i64 c = column; c < k; ++c) rest[t][c - column] = x[t * x_stride + c];
  }
  add_sub<Codec, kTokens>(*block, 0, rest[0], 32, sums, 0, total);
}

template <typename Codec, int kTokens>
static void panel_tile(const LinearArgs& a, i64 panel, i64 token, const f32* sums) {
  V total[kTokens];
  const u8* bytes = a.w + panel * panel_bytes(a.form, a.k);
  bool is_first = token % kLinearTokens == 0;
  tile<Codec, kTokens>(bytes, is_first, a.x + token * a.x_stride, a.x_stride, a.k, sums, total);
  store_totals<kTokens>(a, panel, token, total);
}

// Sums of each 32 columns of `count` tokens from `token` on.
static inline void sum_columns(const LinearArgs& a, i64 token, i64 count, f32* sums) {
  i64 blocks = a.k / 32;
  for (i64 t = 0; t < count; ++t) {
    const f32* x = a.x + (token + t) * a.x_stride;
    for (i64 b = 0; b < blocks; ++b) {
      sums[t * blocks + b] = sum(add(load(x + b * 32), load(x + b * 32 + 16)));
    }
  }
}

// Panels [begin, end) of y for all tokens; sums: linear_scratch(k) floats.
template <typename Codec>
static void linear_panels(const LinearArgs& a, Share panels, f32* sums) {
  if constexpr (Codec::kCodes) {
    if (a.x8.q) return int8_panels<Codec>(a, panels);
  }
  for (i64 first = 0; first < a.tokens; first += kLinearTokens) {
    i64 count = a.tokens - first < kLinearTokens ? a.tokens - first : kLinearTokens;
    if constexpr (Codec::kMin && !Codec::kUnit) sum_columns(a, first, count, sums);
    for (i64 panel = panels.begin; panel < panels.end; ++panel) {
      i64 t = 0;
      if constexpr (kTileTokens >= 8) {
        for (; t + 8 <= count; t += 8) {
          panel_tile<Codec, 8>(a, panel, first + t, sums + t * (a.k / 32));
        }
        for (; t + 4 <= count; t += 4) {
          panel_tile<Codec, 4>(a, panel, first + t, sums + t * (a.k / 32));
        }
      }
      if constexpr (kTileTokens >= 2) {
        for (; t + 2 <= count; t += 2) {
          panel_tile<Codec, 2>(a, panel, first + t, sums + t * (a.k / 32));
        }
      }
      for (; t < count; ++t) panel_tile<Codec, 1>(a, panel, first + t, sums + t * (a.k / 32));
    }
  }
}

template <typename Codec>
static void linear_share(const LinearArgs& a, i32 part, i32 parts) {
  linear_panels<Codec>(a, share_of(panel_count(a.n), part, parts),
                       a.scratch + part * linear_scratch(a.k));
}

static void linear(const LinearArgs& a, i32 part, i32 parts) {
  with_codec(a.form, [&]<typename Codec>() { linear_share<Codec>(a, part, parts); });
}

}  // namespace tg::backend::cpu::TG_VARIANT
