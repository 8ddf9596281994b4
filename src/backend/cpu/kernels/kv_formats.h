// How attention reads a cache's formats: 16 keys' values of one channel, or 16 channels of one row.
#pragma once

#include "backend/cpu/half.h"
#include "backend/cpu/kernels/codecs.h"
#include "backend/cpu/kv_layout.h"

namespace tg::backend::cpu::TG_VARIANT {

// Each: key(block, c) is channel c of a block of 16 keys; row(row, b) is channels 16b .. 16b + 15.
struct FormatF32 {
  static V at(const u8* p, i64 vector) {
    return load(reinterpret_cast<const f32*>(p) + 16 * vector);
  }
  static V key(const u8* block, i64 c) { return at(block, c); }
  static V row(const u8* row, i64 b) { return at(row, b); }
};
struct FormatF16 {
  static V at(const u8* p, i64 vector) {
    return load_f16(reinterpret_cast<const u16*>(p) + 16 * vector);
  }
  static V key(const u8* block, i64 c) { return at(block, c); }
  static V row(const u8* row, i64 b) { return at(row, b); }
};
struct FormatBf16 {
  static V at(const u8* p, i64 vector) {
    return load_bf16(reinterpret_cast<const u16*>(p) + 16 * vector);
  }
  static V key(const u8* block, i64 c) { return at(block, c); }
  static V row(const u8* row, i64 b) { return at(row, b); }
};
struct FormatE4m3 {
  static V key(const u8* block, i64 c) { return from_e4m3(load_u8(block + 16 * c)); }
  static V row(const u8* row, i64 b) { return from_e4m3(load_u8(row + 16 * b)); }
};

static inline V scale_of(const u8* block) {
  return set1(half_to_float(static_cast<u16>(block[0] | block[1] << 8)));
}

struct FormatQ8_0 {
  static V key(const u8* block, i64 c) {
    const KeysQ8_0& keys = reinterpret_cast<const KeysQ8_0*>(block)[c / 32];
    return mul(load_f16(keys.d), to_f32(load_i8(keys.q[c % 32])));
  }
  static V row(const u8* row, i64 b) {
    const u8* block = row + b / 2 * 34;
    const i8* codes = reinterpret_cast<const i8*>(block + 2 + 16 * (b % 2));
    return mul(scale_of(block), to_f32(load_i8(codes)));
  }
};
struct FormatQ4_0 {
  static V code(I both, bool high) {
    return to_f32(add_int(high ? shift_right(both, 4) : bit_and(both, 15), -8));
  }
  static V key(const u8* block, i64 c) {
    const KeysQ4_0& keys = reinterpret_cast<const KeysQ4_0*>(block)[c / 32];
    return mul(load_f16(keys.d), code(load_u8(keys.q[c % 16]), c % 32 >= 16));
  }
  static V row(const u8* row, i64 b) {
    const u8* block = row + b / 2 * 18;
    return mul(scale_of(block), code(load_u8(block + 2), b % 2 == 1));
  }
};

}  // namespace tg::backend::cpu::TG_VARIANT
