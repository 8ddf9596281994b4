// int8.h's product for many rows with AMX: tiles of up to 16 rows of x by 16 rows of w. A panel's
// codes are unpacked to signed bytes a chunk of columns at a time, small enough for the L1 cache,
// and serve all rows. Sums of a sub-block are whole numbers as in int8.h and join the totals by the
// same f32 operations, so that both give the same bits.
#pragma once

#include "backend/cpu/kernels/linear_store.h"
#include "backend/cpu/kernels/quantize.h"

namespace tg::backend::cpu::TG_VARIANT {

// Fewer rows leave a tile nearly empty, and unpacking for them costs more than it saves.
inline constexpr i64 kAmxRowsMin = 16;
inline constexpr int kTileRows = 16;
inline constexpr i64 kChunkColumns = 1'024;
// Tiles of rows whose totals a share keeps from chunk to chunk.
inline constexpr i64 kAmxTiles = 16;
// Sub-blocks whose products are on their way while an earlier one's are added up.
inline constexpr i64 kLag = 2;

struct TileConfig {
  u8 palette = 1, start_row = 0, reserved[14] = {};
  u16 row_bytes[16] = {};
  u8 rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0 and 1 are sums, 2 codes of x, 3 codes of w.
static inline void configure_tiles(i64 x_rows, i64 columns) {
  alignas(64) TileConfig config;
  config.row_bytes[0] = config.row_bytes[1] = config.row_bytes[3] = 64;
  config.row_bytes[2] = static_cast<u16>(columns);
  config.rows[0] = config.rows[1] = config.rows[2] = static_cast<u8>(x_rows);
  config.rows[3] = static_cast<u8>(columns / 4);
  // The compiler thinks that loading reads the first word only.
  __asm__ volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

template <typename Codec>
struct UnpackedChunk {
  static constexpr i64 kSubBlocks = kChunkColumns / Codec::kSub;
  alignas(64) i8 codes[kSubBlocks][Codec::kSub / 4][64];
  f32 scale[kSubBlocks][16];
  f32 min[Codec::kMin ? kSubBlocks : 1][16];
};

// `columns` of a panel from `block` on, a whole number of blocks.
template <typename Codec>
static inline void unpack(const typename Codec::Block* block, i64 columns,
                          UnpackedChunk<Codec>& out) {
  I offset = _mm512_set1_epi8(static_cast<char>(Codec::kOffset));
  for (i64 at = 0; at < columns / Codec::kSub; ++block) {
    for (int s = 0; s < Codec::kSubs; ++s, ++at) {
      typename Codec::Sub sub_block(*block, s);
#pragma GCC unroll 8
      for (int g = 0; g < Codec::kSub / 4; ++g) {
        _mm512_store_si512(out.codes[at][g], _mm512_sub_epi8(sub_block.codes(g), offset));
      }
      store(out.scale[at], sub_block.scale);
      if constexpr (Codec::kMin) store(out.min[at], sub_block.min);
    }
  }
}

// A few rows of x, from some sub-block on.
struct AmxCursor {
  const i8* q;
  const f32* scale;
  const f32* minus;
  i64 rows;
};

// The products of sub-block s, to `sums` [rows][16]. codes: all sub-blocks' of w.
template <int kSub>
static inline void multiply(const AmxCursor& x, const i8* codes, i64 s, i32* sums) {
  constexpr i64 kParts = kBlock / kSub;
  const i8* q = x.q + s / kParts * x.rows * kBlock + s % kParts * kSub;
  _tile_loadd(2, q, kBlock);
  _tile_loadd(3, codes + s * kSub * 16, 64);
  if (s % 2 == 0) {
    _tile_zero(0);
    _tile_dpbssd(0, 2, 3);
    _tile_stored(0, sums, 64);
  } else {
    _tile_zero(1);
    _tile_dpbssd(1, 2, 3);
    _tile_stored(1, sums, 64);
  }
}

template <typename Codec>
static inline void add_sums(const AmxCursor& x, const UnpackedChunk<Codec>& w, i64 s,
                            const i32* sums, V (&total)[kTileRows]) {
  const f32* scales = x.scale + s / (kBlock / Codec::kSub) * x.rows;
  V scale = load(w.scale[s]);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    I dot = _mm512_load_si512(sums + 16 * r);
    total[r] = fma(to_f32(dot), mul(scale, set1(scales[r])), total[r]);
    if constexpr (Codec::kMin) {
      total[r] = fma(load(w.min[s]), set1(x.minus[s * x.rows + r]), total[r]);
    }
  }
}

// Adds a chunk's products to the totals [kTileRows][16] of one tile. Rows beyond the tile's own
// come out as anything.
template <typename Codec>
static inline void add_chunk(const AmxCursor& x, const UnpackedChunk<Codec>& w, i64 sub_blocks,
                             f32 (*totals)[16]) {
  alignas(64) i32 sums[4][kTileRows * 16];
  const i8* codes = w.codes[0][0];
  V total[kTileRows];
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) total[r] = load(totals[r]);
  for (i64 s = 0; s < sub_blocks + kLag; ++s) {
    if (s < sub_blocks) multiply<Codec::kSub>(x, codes, s, sums[s % 4]);
    if (s >= kLag) add_sums<Codec>(x, w, s - kLag, sums[(s - kLag) % 4], total);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) store(totals[r], total[r]);
}

template <typename Codec>
static inline AmxCursor cursor_at(const Int8Rows& x, i64 k, i64 tile, i64 column) {
  i64 rows = x.tile_rows;
  i64 blocks = (tile * (k / kBlock) + column / kBlock) * rows;
  return {.q = x.q + blocks * kBlock,
          .scale = x.scale + blocks,
          .minus = x.minus + blocks * (kBlock / Codec::kSub),
          .rows = rows};
}

// One panel by tiles [first, end), at most kAmxTiles.
template <typename Codec>
static void amx_panel(const LinearArgs& a, i64 panel, Share tiles) {
  UnpackedChunk<Codec> chunk;
  alignas(64) f32 totals[kAmxTiles][kTileRows][16] = {};
  const u8* bytes = a.w + panel * panel_bytes(a.form, a.k);
  const typename Codec::Block* blocks = reinterpret_cast<const typename Codec::Block*>(bytes);
  for (i64 column = 0; column < a.k; column += kChunkColumns) {
    i64 columns = a.k - column < kChunkColumns ? a.k - column : kChunkColumns;
    unpack<Codec>(blocks + column / (Codec::kSubs * Codec::kSub), columns, chunk);
    // The compiler does not see that tile loads read memory.
    __asm__ volatile("" ::: "memory");
    for (i64 tile = tiles.begin; tile < tiles.end; ++tile) {
      AmxCursor x = cursor_at<Codec>(a.x8, a.k, tile, column);
      add_chunk<Codec>(x, chunk, columns / Codec::kSub, totals[tile - tiles.begin]);
    }
  }
  for (i64 tile = tiles.begin; tile < tiles.end; ++tile) {
    i64 first = tile * a.x8.tile_rows;
    for (i64 r = 0; r < a.x8.tile_rows && first + r < a.tokens; ++r) {
      V total[1] = {load(totals[tile - tiles.begin][r])};
      store_totals<1>(a, panel, first + r, total);
    }
  }
}

// Panels [begin, end) of y for all rows. REQUIRES: a.x8 has codes.
template <typename Codec>
static void amx_panels(const LinearArgs& a, Share panels) {
  configure_tiles(a.x8.tile_rows, Codec::kSub);
  i64 tiles = (a.tokens + a.x8.tile_rows - 1) / a.x8.tile_rows;
  for (i64 first = 0; first < tiles; first += kAmxTiles) {
    i64 end = first + kAmxTiles < tiles ? first + kAmxTiles : tiles;
    for (i64 panel = panels.begin; panel < panels.end; ++panel) {
      amx_panel<Codec>(a, panel, {first, end});
    }
  }
  _tile_release();
}

}  // namespace tg::backend::cpu::TG_VARIANT
