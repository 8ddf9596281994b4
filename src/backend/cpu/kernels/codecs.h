// How a kernel reads panels: for each codec, the 16 weights of column j and of column j + half of a
// sub-block as integers (or floats) in f32 lanes, and the sub-block's scale and min.
#pragma once

#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/panel.h"

namespace tg::backend::cpu::TG_VARIANT {

struct Pair {
  V low, high;
};

// Each codec: Block; kSub columns per scale; kMin whether w = scale * q - min; kUnit whether the
// scale is always 1. pair(j) is called for j = 0, 1, .. kSub/2 - 1 in order, once each.
struct CodecF32 {
  using Block = PanelF32;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    Pair pair(int j) { return {load(block.w[j]), load(block.w[j + 16])}; }
  };
};

struct CodecF16 {
  using Block = PanelHalf;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    Pair pair(int j) { return {load_f16(block.w[j]), load_f16(block.w[j + 16])}; }
  };
};

struct CodecBf16 {
  using Block = PanelHalf;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    Pair pair(int j) { return {load_bf16(block.w[j]), load_bf16(block.w[j + 16])}; }
  };
};

struct CodecQ8_0 {
  using Block = PanelQ8_0;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const Block& block;
    V scale;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    Pair pair(int j) { return {to_f32(load_i8(block.q[j])), to_f32(load_i8(block.q[j + 16]))}; }
  };
};

struct CodecQ4_0 {
  using Block = PanelQ4_0;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const Block& block;
    V scale;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    Pair pair(int j) {
      I q = load_u8(block.q[j]);
      return {to_f32(add_int(bit_and(q, 15), -8)), to_f32(add_int(shift_right<4>(q), -8))};
    }
  };
};

struct CodecQ4K {
  using Block = PanelQ4K;
  static constexpr int kSubs = 8, kSub = 32;
  static constexpr bool kMin = true, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale, min;
    Sub(const Block& b, int s)
        : q(b.q[s]),
          scale(mul(load_f16(b.d), to_f32(load_u8(b.scale[s])))),
          min(mul(load_f16(b.dmin), to_f32(load_u8(b.min[s])))) {}
    Pair pair(int j) {
      I both = load_u8(q[j]);
      return {to_f32(bit_and(both, 15)), to_f32(shift_right<4>(both))};
    }
  };
};

struct CodecQ5K {
  using Block = PanelQ5K;
  static constexpr int kSubs = 8, kSub = 32;
  static constexpr bool kMin = true, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale, min;
    I high;
    Sub(const Block& b, int s)
        : q(b.q[s]),
          scale(mul(load_f16(b.d), to_f32(load_u8(b.scale[s])))),
          min(mul(load_f16(b.dmin), to_f32(load_u8(b.min[s])))),
          high(load_u32(b.high[s])) {}
    Pair pair(int j) {
      I both = load_u8(q[j]);
      I low5 = bit_or(bit_and(both, 15), bit_and(shift_left<4>(high), 16));
      I high5 = bit_or(shift_right<4>(both), bit_and(shift_right<12>(high), 16));
      high = shift_right<1>(high);
      return {to_f32(low5), to_f32(high5)};
    }
  };
};

struct CodecQ6K {
  using Block = PanelQ6K;
  static constexpr int kSubs = 16, kSub = 16;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale;
    I high;
    Sub(const Block& b, int s)
        : q(b.q[s]),
          scale(mul(load_f16(b.d), to_f32(load_i8(b.scale[s])))),
          high(load_u32(b.high[s])) {}
    Pair pair(int j) {
      I both = load_u8(q[j]);
      I low6 = bit_or(bit_and(both, 15), bit_and(shift_left<4>(high), 48));
      I high6 = bit_or(shift_right<4>(both), bit_and(shift_right<12>(high), 48));
      high = shift_right<2>(high);
      return {to_f32(add_int(low6, -32)), to_f32(add_int(high6, -32))};
    }
  };
};

}  // namespace tg::backend::cpu::TG_VARIANT
