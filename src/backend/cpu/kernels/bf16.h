// y = x w^T for bf16 weights and activations rounded to bf16 (xq=bf16), by the instruction that
// multiplies pairs: it adds the products of two columns to a sum, in column order, one sum for each
// output. Tiles only decide which outputs are computed side by side, so that a row's bits are its
// own. Numbers below 2^-126 count as zero, as the instruction takes them.
#pragma once

#include "backend/cpu/kernels/linear_store.h"
#include "backend/cpu/kernels/prefetch.h"
#include "backend/cpu/kernels/split.h"

namespace tg::backend::cpu::TG_VARIANT {

// Rows whose sums by two panels are kept in registers: enough to hide an addition's latency.
inline constexpr i64 kBf16Rows = 8;

static inline V add_pairs(V sum, I w, I x) {
#if defined(__clang__)
  // clang 16 ends with a segmentation fault where the intrinsic meets a broadcast.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
#else
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
#endif
}

// kRows rows from row `row` of a tile on by kPanels panels.
template <int kRows, int kPanels>
static void bf16_rows(const LinearArgs& a, i64 panel, i64 tile, i64 row, NextPanels& next) {
  constexpr int kPairs = kBlock / 2, kParts = 4;  // of a block's loop
  constexpr i64 kAhead = kPrefetchBytes / sizeof(PanelBf16);
  i64 blocks = (a.k + kBlock - 1) / kBlock;
  i64 step = a.split.tile_rows * kBlock;
  const u16* x = a.split.parts + tile * blocks * step + row * kBlock;
  const PanelBf16* w[kPanels];
  V total[kPanels][kRows];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    w[p] = reinterpret_cast<const PanelBf16*>(a.w) + (panel + p) * blocks;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) total[p][r] = zero();
  }
  for (i64 b = 0; b < blocks; ++b, x += step) {
    // Behind a panel of two lies what is being read already: the next ones' turn comes.
    i64 skipped = b + kAhead < blocks ? 0 : (kPanels - 1) * blocks;
    next.ask();
    for (int part = 0; part < kParts; ++part) {
      for (int p = 0; p < kPanels && next.own; ++p) prefetch_after<kParts>(w[p] + skipped, part);
#pragma GCC unroll 4
      for (int j = part * (kPairs / kParts); j < (part + 1) * (kPairs / kParts); ++j) {
        I columns[kPanels];
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) columns[p] = load_u32(w[p]->w[j]);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          I pair = spread(reinterpret_cast<const i8*>(x + r * kBlock + 2 * j));
#pragma GCC unroll 2
          for (int p = 0; p < kPanels; ++p) total[p][r] = add_pairs(total[p][r], columns[p], pair);
        }
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) ++w[p];
  }
  next.own = false;
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    store_totals<kRows>(a, panel + p, tile * a.split.tile_rows + row, total[p]);
  }
}

template <int kPanels>
static void bf16_count(const LinearArgs& a, i64 panel, i64 tile, i64 row, i64 count,
                       NextPanels& next) {
  switch (count) {
    case 1: return bf16_rows<1, kPanels>(a, panel, tile, row, next);
    case 2: return bf16_rows<2, kPanels>(a, panel, tile, row, next);
    case 3: return bf16_rows<3, kPanels>(a, panel, tile, row, next);
    case 4: return bf16_rows<4, kPanels>(a, panel, tile, row, next);
    case 5: return bf16_rows<5, kPanels>(a, panel, tile, row, next);
    case 6: return bf16_rows<6, kPanels>(a, panel, tile, row, next);
    case 7: return bf16_rows<7, kPanels>(a, panel, tile, row, next);
    default: return bf16_rows<8, kPanels>(a, panel, tile, row, next);
  }
}

// The panels' weights stay in the L2 cache while all rows pass; a tile is cut in nearly equal
// parts.
template <int kPanels>
static void bf16_panels(const LinearArgs& a, i64 panel, bool is_first) {
  i64 tile_rows = a.split.tile_rows;
  i64 bytes = panel_bytes(PanelForm::kBf16, a.k);
  i64 passes = (a.tokens + tile_rows - 1) / tile_rows * ((tile_rows + kBf16Rows - 1) / kBf16Rows);
  NextPanels next = NextPanels::after(a.w + panel * bytes, kPanels * bytes, passes,
                                      (a.k + kBlock - 1) / kBlock, is_first);
  for (i64 tile = 0; tile * tile_rows < a.tokens; ++tile) {
    i64 left = a.tokens - tile * tile_rows;
    i64 rows = left < tile_rows ? left : tile_rows;
    i64 row = 0;
    for (i64 parts = (rows + kBf16Rows - 1) / kBf16Rows; parts > 0; --parts) {
      i64 count = (rows - row + parts - 1) / parts;
      bf16_count<kPanels>(a, panel, tile, row, count, next);
      row += count;
    }
  }
}

// REQUIRES: a.split holds rounded rows; bf16 panels.
static void linear_split(const LinearArgs& a, i32 part, i32 parts) {
  Share panels = share_of(panel_count(a.n), part, parts);
  i64 panel = panels.begin;
  for (; panel + 2 <= panels.end; panel += 2) bf16_panels<2>(a, panel, panel == panels.begin);
  if (panel < panels.end) bf16_panels<1>(a, panel, panel == panels.begin);
}

static i64 peak_bf16(i64 rounds, f32* out) {
  constexpr int kSums = 12;  // independent, to cover the latency of an addition
  V total[kSums];
  for (int i = 0; i < kSums; ++i) total[i] = set1(static_cast<f32>(i));
  I x = set1_int(static_cast<i32>(out[0]) + 0x3F803F80), w = set1_int(0x3C003C00);
  for (i64 round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) total[i] = add_pairs(total[i], w, x);
  }
  V all = zero();
  for (int i = 0; i < kSums; ++i) all = max(all, total[i]);
  out[0] += largest(all) * 0.0f;
  return rounds * kSums * kLanes * 2 * 2;
}

}  // namespace tg::backend::cpu::TG_VARIANT
