// y = x w^T with int8 activations: byte products are summed exactly as integers over a sub-block,
// and the f32 additions of one output are one fused multiply-add per sub-block (two with a min), in
// column order. Nothing in that depends on which rows are computed together, so that every tile
// size, and AMX, gives the same bits.
#pragma once

#include "backend/cpu/kernels/linear_store.h"
#include "backend/cpu/kernels/prefetch.h"
#include "backend/cpu/kernels/quantize.h"
#if defined(__AMX_INT8__)
#include "backend/cpu/kernels/amx.h"
#endif

namespace tg::backend::cpu::TG_VARIANT {

// From so many rows on, products bound a step more than the stream of weights does.
inline constexpr i64 kPairedRowsMin = 4;

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

// Adds sub-block s of kPanels panels for kRows rows; x is at its block of 32 and moves past what it
// has read. Several panels share what is read of x.
template <typename Codec, int kRows, int kPanels>
static inline void add_codes(const typename Codec::Block* const (&block)[kPanels], int s,
                             Int8Cursor& x, V (&total)[kPanels][kRows]) {
  constexpr int kParts = kBlock / Codec::kSub;
  const i8* q = x.q + s % kParts * Codec::kSub;
  auto run = [&](const auto&... sub_block) {
    I dot[kPanels][kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      I start = set1_int(Codec::kMin ? 0 : x.start[r]);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) dot[p][r] = start;
    }
#pragma GCC unroll 8
    for (int g = 0; g < Codec::kSub / 4; ++g) {
      I w[kPanels] = {sub_block.codes(g)...};
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        I bytes = spread(q + r * kBlock + 4 * g);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          dot[p][r] = add_products<Codec::kWide>(dot[p][r], w[p], bytes);
        }
      }
    }
    V scale[kPanels] = {sub_block.scale...};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      V x_scale = set1(x.scale[r]);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        total[p][r] = fma(to_f32(dot[p][r]), mul(scale[p], x_scale), total[p][r]);
      }
    }
    if constexpr (Codec::kMin) {
      V min[kPanels] = {sub_block.min...};
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        V minus = set1(x.minus[r]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) total[p][r] = fma(min[p], minus, total[p][r]);
      }
    }
  };
  using Sub = typename Codec::Sub;
  if constexpr (kPanels == 1) run(Sub(*block[0], s));
  if constexpr (kPanels == 2) run(Sub(*block[0], s), Sub(*block[1], s));
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

template <typename Codec, int kRows, int kPanels = 1>
static void int8_rows(const LinearArgs& a, i64 panel, i64 tile, i64 row, NextPanels& next) {
  const typename Codec::Block* block[kPanels];
  V total[kPanels][kRows];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    const u8* bytes = a.w + (panel + p) * panel_bytes(a.form, a.k);
    block[p] = reinterpret_cast<const typename Codec::Block*>(bytes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) total[p][r] = zero();
  }
  Int8Cursor x = Int8Cursor::at<Codec>(a.x8, a.k, tile, row);
  constexpr i64 kColumns = Codec::kSubs * Codec::kSub;
  constexpr i64 kAhead = kColumns * static_cast<i64>(kPrefetchBytes / sizeof(*block[0]));
  for (i64 column = 0; column < a.k; column += kColumns) {
    // Behind a panel of several lies what is being read already: the next ones' turn comes.
    i64 skipped = column + kAhead < a.k ? 0 : (kPanels - 1) * (a.k / kColumns);
    next.ask();
    auto add_sub = [&](int s) {
      for (int p = 0; p < kPanels && next.own; ++p) {
        prefetch_after<Codec::kSubs>(block[p] + skipped, s);
      }
      add_codes<Codec, kRows, kPanels>(block, s, x, total);
    };
    // Where memory is the limit, the counters and scales of sub-blocks are not to be looked up.
    if constexpr (kRows == 1) {
#pragma GCC unroll 16
      for (int s = 0; s < Codec::kSubs; ++s) add_sub(s);
    } else {
#pragma GCC unroll 2
      for (int s = 0; s < Codec::kSubs; ++s) add_sub(s);
    }
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) ++block[p];
  }
  next.own = false;
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p)
    store_totals<kRows>(a, panel + p, tile * a.x8.tile_rows + row, total[p]);
}

static inline i64 rows_of_tile(const LinearArgs& a, i64 tile) {
  i64 left = a.tokens - tile * a.x8.tile_rows;
  return left < a.x8.tile_rows ? left : a.x8.tile_rows;
}

template <typename Codec>
static inline void int8_tile(const LinearArgs& a, i64 panel, i64 tile, i64 r, NextPanels& next) {
  i64 rows = rows_of_tile(a, tile);
  if constexpr (kTileTokens >= 8) {
    for (; r + 8 <= rows; r += 8) int8_rows<Codec, 8>(a, panel, tile, r, next);
    for (; r + 4 <= rows; r += 4) int8_rows<Codec, 4>(a, panel, tile, r, next);
  }
  if constexpr (kTileTokens >= 2) {
    for (; r + 2 <= rows; r += 2) int8_rows<Codec, 2>(a, panel, tile, r, next);
  }
  for (; r < rows; ++r) int8_rows<Codec, 1>(a, panel, tile, r, next);
}

// Two panels side by side need half the reads of x, which is what bounds one; in return few rows
// fit the registers. For the codecs of common files, and with rows enough.
template <typename Codec>
static inline constexpr bool kPaired = kTileTokens >= 8 && Codec::kPaired;
inline constexpr i64 kPairRows = 6;

// Both panels from `panel` on. Rows are cut into nearly equal fours, fives and sixes.
template <typename Codec>
static inline void int8_pair(const LinearArgs& a, i64 panel, i64 tile, NextPanels& next) {
  i64 rows = rows_of_tile(a, tile);
  i64 r = 0;
  if constexpr (kPaired<Codec>) {
    for (i64 parts = (rows + kPairRows - 1) / kPairRows; parts > 0; --parts) {
      i64 count = (rows - r + parts - 1) / parts;
      if (count == 6) int8_rows<Codec, 6, 2>(a, panel, tile, r, next);
      if (count == 5) int8_rows<Codec, 5, 2>(a, panel, tile, r, next);
      if (count == 4) int8_rows<Codec, 4, 2>(a, panel, tile, r, next);
      if (count < 4) break;
      r += count;
    }
  }
  if (r == rows) return;
  int8_tile<Codec>(a, panel, tile, r, next);
  int8_tile<Codec>(a, panel + 1, tile, r, next);
}

// Panels [begin, end) of y for all rows. A panel's or pair's weights stay in the L2 cache while all
// rows pass.
template <typename Codec>
static void int8_panels(const LinearArgs& a, Share panels) {
#if defined(__AMX_INT8__)
  if (a.tokens >= kAmxRowsMin) return amx_panels<Codec>(a, panels);
#endif
  i64 tiles = (a.tokens + a.x8.tile_rows - 1) / a.x8.tile_rows;
  bool in_pairs = kPaired<Codec> && a.tokens >= kPairedRowsMin;
  i64 blocks = a.k / (Codec::kSubs * Codec::kSub);
  i64 bytes = panel_bytes(a.form, a.k);
  auto next_after = [&](i64 panel, i64 count, i64 rows) {
    i64 passes = tiles * ((a.x8.tile_rows + rows - 1) / rows);
    return NextPanels::after(a.w + panel * bytes, count * bytes, passes, blocks,
                             panel == panels.begin);
  };
  i64 panel = panels.begin;
  for (; in_pairs && panel + 2 <= panels.end; panel += 2) {
    NextPanels next = next_after(panel, 2, kPairRows);
    for (i64 tile = 0; tile < tiles; ++tile) int8_pair<Codec>(a, panel, tile, next);
  }
  for (; panel < panels.end; ++panel) {
    NextPanels next = next_after(panel, 1, kTileTokens);
    for (i64 tile = 0; tile < tiles; ++tile) int8_tile<Codec>(a, panel, tile, 0, next);
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
