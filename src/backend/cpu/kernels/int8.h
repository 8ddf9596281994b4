// y = x w^T with int8 activations: byte products are summed exactly as integers over a sub-block,
// and the f32 additions of one output are one fused multiply-add per sub-block (two with a min), in
// column order. Nothing in that depends on which rows are computed together, so that every tile
// size, and AMX, gives the same bits.
#pragma once

#include "backend/cpu/kernels/linear_store.h"
#include "backend/cpu/kernels/quantize.h"
#if defined(__AMX_INT8__)
#include "backend/cpu/kernels/amx.h"
#endif

namespace tg::backend::cpu::TG_VARIANT {

// Tiles of rows that a share works on at a time: their codes stay in the L2 cache.
inline constexpr i64 kInt8Tiles = 16;

// One tile's rows from `row` on, block by block.
struct Int8Cursor {
  const i8* q;
  const f32* scale;
  const i32* start;
  const f32* minus;
  i64 rows;

  template <typename Codec>
  static Int8Cursor at(const Int8Rows& x, i64 k, i64 tile, i64 row) {
    i64 blocks = tile * (k / kBlock) * x.tile_rows;
    i64 subs = blocks * (kBlock / Codec::kSub);
    return {.q = x.q + (blocks + row) * kBlock,
            .scale = x.scale + blocks + row,
            .start = Codec::kMin ? nullptr : x.start + subs + row,
            .minus = Codec::kMin ? x.minus + subs + row : nullptr,
            .rows = x.tile_rows};
  }
};

// Adds sub-block s for kRows rows; x is at its block of 32 and moves past what it has read.
template <typename Codec, int kRows>
static inline void add_codes(const typename Codec::Block& block, int s, Int8Cursor& x,
                             V (&total)[kRows]) {
  constexpr int kParts = kBlock / Codec::kSub;
  typename Codec::Sub sub_block(block, s);
  const i8* q = x.q + s % kParts * Codec::kSub;
  I dot[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) dot[r] = set1_int(Codec::kMin ? 0 : x.start[r]);
#pragma GCC unroll 8
  for (int g = 0; g < Codec::kSub / 4; ++g) {
    I w = sub_block.codes(g);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      dot[r] = add_products<Codec::kWide>(dot[r], w, q + r * kBlock + 4 * g);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    total[r] = fma(to_f32(dot[r]), mul(sub_block.scale, set1(x.scale[r])), total[r]);
    if constexpr (Codec::kMin) total[r] = fma(sub_block.min, set1(x.minus[r]), total[r]);
  }
  if constexpr (Codec::kMin) {
    x.minus += x.rows;
  } else {
    x.start += x.rows;
  }
  if (s % kParts == kParts - 1) {
    x.q += x.rows * kBlock;
    x.scale += x.rows;
  }
}

template <typename Codec, int kRows>
static void int8_rows(const LinearArgs& a, i64 panel, i64 tile, i64 row) {
  const u8* bytes = a.w + panel * panel_bytes(a.form, a.k);
  const typename Codec::Block* block = reinterpret_cast<const typename Codec::Block*>(bytes);
  Int8Cursor x = Int8Cursor::at<Codec>(a.x8, a.k, tile, row);
  V total[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) total[r] = zero();
  for (i64 column = 0; column < a.k; column += Codec::kSubs * Codec::kSub, ++block) {
#pragma GCC unroll 2
    for (int s = 0; s < Codec::kSubs; ++s) add_codes<Codec, kRows>(*block, s, x, total);
  }
  store_totals<kRows>(a, panel, tile * a.x8.tile_rows + row, total);
}

template <typename Codec>
static inline void int8_tile(const LinearArgs& a, i64 panel, i64 tile) {
  i64 first = tile * a.x8.tile_rows;
  i64 rows = a.tokens - first < a.x8.tile_rows ? a.tokens - first : a.x8.tile_rows;
  i64 r = 0;
  if constexpr (kTileTokens >= 8) {
    for (; r + 8 <= rows; r += 8) int8_rows<Codec, 8>(a, panel, tile, r);
    for (; r + 4 <= rows; r += 4) int8_rows<Codec, 4>(a, panel, tile, r);
  }
  if constexpr (kTileTokens >= 2) {
    for (; r + 2 <= rows; r += 2) int8_rows<Codec, 2>(a, panel, tile, r);
  }
  for (; r < rows; ++r) int8_rows<Codec, 1>(a, panel, tile, r);
}

// Panels [begin, end) of y for all rows.
template <typename Codec>
static void int8_panels(const LinearArgs& a, Share panels) {
#if defined(__AMX_INT8__)
  if (a.tokens >= kAmxRowsMin) return amx_panels<Codec>(a, panels);
#endif
  i64 tiles = (a.tokens + a.x8.tile_rows - 1) / a.x8.tile_rows;
  for (i64 first = 0; first < tiles; first += kInt8Tiles) {
    i64 end = first + kInt8Tiles < tiles ? first + kInt8Tiles : tiles;
    for (i64 panel = panels.begin; panel < panels.end; ++panel) {
      for (i64 tile = first; tile < end; ++tile) int8_tile<Codec>(a, panel, tile);
    }
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
