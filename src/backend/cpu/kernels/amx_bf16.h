// y = x w^T for bf16 weights with AMX, of activations rounded to bf16 or, without rounding, of f32:
// a number of 24 bits is the sum of three of 8, each of which is a bf16, so that one product by
// three tiles of x has all of f32's digits. The parts of a block of 32 columns join one sum in a
// fixed order, for any number of rows, so that a row's bits are its own.
#pragma once

#include "backend/cpu/kernels/amx.h"
#include "backend/cpu/kernels/split.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr i64 kPartBytes = 64;    // of a row: 32 columns
inline constexpr i64 kPanelsAtOnce = 8;  // whose weights stay in the L2 cache for all rows

// Tiles 0 to 3 are sums: of rows 0 by panels 0 and 1, of rows 1 by both; 4 and 5 are the rows,
// 6 and 7 the panels.
static inline void configure_bf16(i64 x_rows) {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = 64;
    config.rows[tile] = static_cast<u8>(tile < 6 ? x_rows : 16);
  }
  __asm__ volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

template <int kTiles, int kPanels>
static inline void add_bf16_block(const u16* const (&x)[2], const u8* const (&w)[2], i64 each,
                                  i64 rows) {
  _tile_loadd(6, w[0], 64);
  if constexpr (kPanels == 2) _tile_loadd(7, w[1], 64);
  for (i64 part = 0; part < each; ++part) {
    _tile_loadd(4, x[0] + part * rows * kBlock, kPartBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kPanels == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTiles == 2) {
      _tile_loadd(5, x[1] + part * rows * kBlock, kPartBytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kPanels == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

static inline void store_sums(const LinearArgs& a, i64 panel, i64 tile, const f32* sums) {
  i64 first = tile * a.split.tile_rows;
  for (i64 r = 0; r < a.split.tile_rows && first + r < a.tokens; ++r) {
    V total[1] = {load(sums + r * 16)};
    store_totals<1>(a, panel, first + r, total);
  }
}

// Tiles `tile` on by panels `panel` on.
template <int kTiles, int kPanels>
static void bf16_tiles(const LinearArgs& a, i64 tile, i64 panel) {
  i64 rows = a.split.tile_rows;
  i64 blocks = (a.k + kBlock - 1) / kBlock;
  i64 x_step = a.split.each * rows * kBlock;
  i64 w_step = static_cast<i64>(sizeof(PanelBf16));
  const u16* first_x = a.split.parts + tile * blocks * x_step;
  const u8* first_w = a.w + panel * blocks * w_step;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (i64 b = 0; b < blocks; ++b) {
    const u16* x[2] = {first_x + b * x_step, first_x + (blocks + b) * x_step};
    const u8* w[2] = {first_w + b * w_step, first_w + (blocks + b) * w_step};
    add_bf16_block<kTiles, kPanels>(x, w, a.split.each, rows);
  }
  alignas(64) f32 sums[4][256];
  _tile_stored(0, sums[0], 64);
  if constexpr (kPanels == 2) _tile_stored(1, sums[1], 64);
  if constexpr (kTiles == 2) _tile_stored(2, sums[2], 64);
  if constexpr (kTiles == 2 && kPanels == 2) _tile_stored(3, sums[3], 64);
  for (int t = 0; t < kTiles; ++t) {
    for (int p = 0; p < kPanels; ++p) store_sums(a, panel + p, tile + t, sums[2 * t + p]);
  }
}

template <int kTiles>
static void bf16_rows(const LinearArgs& a, i64 tile, Share panels) {
  i64 panel = panels.begin;
  for (; panel + 2 <= panels.end; panel += 2) bf16_tiles<kTiles, 2>(a, tile, panel);
  if (panel < panels.end) bf16_tiles<kTiles, 1>(a, tile, panel);
}

// REQUIRES: a.split has parts; bf16 panels.
static void linear_split(const LinearArgs& a, i32 part, i32 parts) {
  Share panels = share_of(panel_count(a.n), part, parts);
  configure_bf16(a.split.tile_rows);
  __asm__ volatile("" ::: "memory");
  i64 tiles = (a.tokens + a.split.tile_rows - 1) / a.split.tile_rows;
  for (i64 first = panels.begin; first < panels.end; first += kPanelsAtOnce) {
    i64 end = first + kPanelsAtOnce < panels.end ? first + kPanelsAtOnce : panels.end;
    i64 tile = 0;
    for (; tile + 2 <= tiles; tile += 2) bf16_rows<2>(a, tile, {first, end});
    if (tile < tiles) bf16_rows<1>(a, tile, {first, end});
  }
  _tile_release();
}

// Four independent sums of 16 rows by 16 columns by 32.
static i64 peak_bf16(i64 rounds, f32* out) {
  alignas(64) f32 sums[256] = {};
  configure_bf16(16);
  __asm__ volatile("" ::"r"(sums) : "memory");
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, sums, 64);
  _tile_loadd(6, sums, 64);
  for (i64 round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 6);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(3, 4, 6);
  }
  _tile_stored(0, sums, 64);
  _tile_release();
  *out += sums[0];
  return rounds * 4 * 16 * 16 * 32 * 2;
}

}  // namespace tg::backend::cpu::TG_VARIANT
