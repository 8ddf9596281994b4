// Loops that do nothing but the one thing whose peak they show: what a machine allows, to compare
// kernels with (limits.h).
#pragma once

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kernels/int8.h"

namespace tg::backend::cpu::TG_VARIANT {

inline constexpr int kChains = 12;  // independent, to cover the latency of an addition

static inline void keep(V v, f32* out) {
  f32 lanes[kLanes];
  store(lanes, v);
  *out += lanes[0];
}

static i64 peak_f32(i64 rounds, f32* out) {
  V total[kChains];
  for (int i = 0; i < kChains; ++i) total[i] = set1(static_cast<f32>(i));
  V a = set1(out[0] + 0.5f), b = set1(0.25f);
  for (i64 round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) total[i] = fma(total[i], a, b);
  }
  for (int i = 0; i < kChains; ++i) keep(total[i], out);
  return rounds * kChains * kLanes * 2;
}

#if defined(__AMX_INT8__)
// Four independent sums of 16 rows by 16 columns by 64.
static i64 peak_int8(i64 rounds, f32* out) {
  alignas(64) i32 sums[256] = {};
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 6; ++tile) {
    config.row_bytes[tile] = 64;
    config.rows[tile] = 16;
  }
  __asm__ volatile("" ::"r"(&config), "r"(sums) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, sums, 64);
  _tile_loadd(5, sums, 64);
  for (i64 round = 0; round < rounds; ++round) {
    _tile_dpbssd(0, 4, 5);
    _tile_dpbssd(1, 4, 5);
    _tile_dpbssd(2, 4, 5);
    _tile_dpbssd(3, 4, 5);
  }
  _tile_stored(0, sums, 64);
  _tile_release();
  *out += static_cast<f32>(sums[0]);
  return rounds * 4 * 16 * 16 * 64 * 2;
}
#else
static i64 peak_int8(i64 rounds, f32* out) {
  I total[kChains];
  for (int i = 0; i < kChains; ++i) total[i] = set1_int(i);
  i8 bytes[4] = {static_cast<i8>(out[0]), 1, 2, 3};
  I x = spread(bytes);
  I w = set1_int(0x01020304);
  for (i64 round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) total[i] = add_products<false>(total[i], w, x);
  }
  for (int i = 0; i < kChains; ++i) keep(to_f32(total[i]), out);
  return rounds * kChains * kLanes * 4 * 2;
}
#endif

// Reads all of `bytes` in order. REQUIRES: a multiple of 1,024.
static f32 read_bytes(const u8* from, i64 bytes) {
  const f32* p = reinterpret_cast<const f32*>(from);
  V total[4] = {zero(), zero(), zero(), zero()};
  for (i64 i = 0; i < bytes / 4; i += 8 * kLanes) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) total[j % 4] = max(total[j % 4], load(p + i + j * kLanes));
  }
  f32 out = 0;
  for (V v : total) keep(v, &out);
  return out;
}

}  // namespace tg::backend::cpu::TG_VARIANT
