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

// Two columns' nibbles in one byte.
static inline Pair nibbles(const u8* q) {
  I both = load_u8(q);
  return {to_f32(bit_and(both, 15)), to_f32(shift_right<4>(both))};
}
static inline Pair levels(const u8* q, const Table& table) {
  I both = load_u8(q);
  return {look_up(bit_and(both, 15), table), look_up(shift_right<4>(both), table)};
}
// With a fifth bit from `high`, which moves on by one column: bit 0 and bit 16.
static inline Pair five_bits(const u8* q, I& high) {
  I both = load_u8(q);
  I low5 = bit_or(bit_and(both, 15), bit_and(shift_left<4>(high), 16));
  I high5 = bit_or(shift_right<4>(both), bit_and(shift_right<12>(high), 16));
  high = shift_right<1>(high);
  return {to_f32(low5), to_f32(high5)};
}
// The same v added to both, or both times scale plus v.
static inline Pair shifted(Pair w, V v) {
  return {add(w.low, v), add(w.high, v)};
}
static inline Pair scaled(Pair w, V scale, V v) {
  return {add(mul(w.low, scale), v), add(mul(w.high, scale), v)};
}

// Codecs whose offset would cancel against their codes in sums (q4_1 and its like) dequantise each
// weight, rounding once as their definition does, and have unit scale.
struct CodecQ4_1 {
  using Block = PanelQ4_1;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    const Block& block;
    V d, m;
    Sub(const Block& b, int) : block(b), d(load_f16(b.d)), m(load_f16(b.m)) {}
    Pair pair(int j) { return scaled(nibbles(block.q[j]), d, m); }
  };
};

struct CodecQ5_0 {
  using Block = PanelQ5_0;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const Block& block;
    V scale;
    I high;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)), high(load_u32(b.high)) {}
    Pair pair(int j) { return shifted(five_bits(block.q[j], high), set1(-16.0f)); }
  };
};

struct CodecQ5_1 {
  using Block = PanelQ5_1;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    const Block& block;
    V d, m;
    I high;
    Sub(const Block& b, int)
        : block(b), d(load_f16(b.d)), m(load_f16(b.m)), high(load_u32(b.high)) {}
    Pair pair(int j) { return scaled(five_bits(block.q[j], high), d, m); }
  };
};

struct CodecQ2K {
  using Block = PanelQ2K;
  static constexpr int kSubs = 16, kSub = 16;
  static constexpr bool kMin = false, kUnit = true;
  struct Sub {
    V scale, minus;
    I q;
    Sub(const Block& b, int s) : q(load_u32(b.q[s])) {
      Pair fields = nibbles(b.scale_min[s]);
      scale = mul(load_f16(b.d), fields.low);
      minus = sub(zero(), mul(load_f16(b.dmin), fields.high));
    }
    Pair pair(int) {
      Pair codes{to_f32(bit_and(q, 3)), to_f32(bit_and(shift_right<16>(q), 3))};
      q = shift_right<2>(q);
      return scaled(codes, scale, minus);
    }
  };
};

struct CodecQ3K {
  using Block = PanelQ3K;
  static constexpr int kSubs = 16, kSub = 16;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    V scale;
    I low, high;
    Sub(const Block& b, int s)
        : scale(mul(load_f16(b.d), to_f32(load_i8(b.scale[s])))),
          low(load_u32(b.low[s])),
          high(load_u32(b.high[s / 2])) {
      if (s % 2 == 1) high = shift_right<16>(high);
    }
    Pair pair(int) {
      I first = bit_or(bit_and(low, 3), bit_and(shift_left<2>(high), 4));
      I second = bit_or(bit_and(shift_right<16>(low), 3), bit_and(shift_right<6>(high), 4));
      low = shift_right<2>(low);
      high = shift_right<1>(high);
      return {to_f32(add_int(first, -4)), to_f32(add_int(second, -4))};
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
    Pair pair(int j) { return nibbles(q[j]); }
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
    Pair pair(int j) { return five_bits(q[j], high); }
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

static constexpr i8 kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
static constexpr i8 kTwiceE2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct CodecIq4Nl {
  using Block = PanelIq4Nl;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const Block& block;
    V scale;
    Table table = make_table(kIq4Levels);
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    Pair pair(int j) { return levels(block.q[j], table); }
  };
};

struct CodecIq4Xs {
  using Block = PanelIq4Xs;
  static constexpr int kSubs = 8, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale;
    Table table = make_table(kIq4Levels);
    Sub(const Block& b, int s)
        : q(b.q[s]), scale(mul(load_f16(b.d), to_f32(load_i8(b.scale[s])))) {}
    Pair pair(int j) { return levels(q[j], table); }
  };
};

struct CodecMxfp4 {
  using Block = PanelMxfp4;
  static constexpr int kSubs = 1, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const Block& block;
    V scale;
    Table table = make_table(kTwiceE2m1);
    Sub(const Block& b, int) : block(b), scale(load_bf16(b.half)) {}
    Pair pair(int j) { return levels(block.q[j], table); }
  };
};

struct CodecNvfp4 {
  using Block = PanelNvfp4;
  static constexpr int kSubs = 4, kSub = 16;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale;
    Table table = make_table(kTwiceE2m1);
    Sub(const Block& b, int s) : q(b.q[s]), scale(load_f16(b.half[s])) {}
    Pair pair(int j) { return levels(q[j], table); }
  };
};

template <int kBlocks>
struct CodecInt4 {
  using Block = PanelInt4<kBlocks>;
  static constexpr int kSubs = kBlocks, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale, minus;
    Sub(const Block& b, int s)
        : q(b.q[s]), scale(load_f16(b.d)), minus(sub(zero(), to_f32(load_u8(b.zero)))) {}
    Pair pair(int j) { return shifted(nibbles(q[j]), minus); }
  };
};

// The exponent's bias moves from 7 to 127 by a factor of 2^120, which makes subnormals normal too.
static inline V from_e4m3(I bits) {
  I magnitude = bit_and(bits, 0x7F);
  V value = as_f32(bit_or(shift_left<20>(magnitude), shift_left<24>(bit_and(bits, 0x80))));
  return if_less(to_f32(magnitude), set1(127.0f), mul(value, set1(0x1p120f)),
                 set1(__builtin_nanf("")));
}

struct CodecFp8 {
  using Block = PanelFp8;
  static constexpr int kSubs = 4, kSub = 32;
  static constexpr bool kMin = false, kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale;
    Sub(const Block& b, int s) : q(b.q + 32 * s), scale(load(b.scale)) {}
    Pair pair(int j) { return {from_e4m3(load_u8(q[j])), from_e4m3(load_u8(q[j + 16]))}; }
  };
};

// body.template operator()<Codec>() for the form's codec.
template <typename Body>
static inline void with_codec(PanelForm form, const Body& body) {
  switch (form) {
    case PanelForm::kF32: return body.template operator()<CodecF32>();
    case PanelForm::kF16: return body.template operator()<CodecF16>();
    case PanelForm::kBf16: return body.template operator()<CodecBf16>();
    case PanelForm::kQ8_0: return body.template operator()<CodecQ8_0>();
    case PanelForm::kQ4_0: return body.template operator()<CodecQ4_0>();
    case PanelForm::kQ4_1: return body.template operator()<CodecQ4_1>();
    case PanelForm::kQ5_0: return body.template operator()<CodecQ5_0>();
    case PanelForm::kQ5_1: return body.template operator()<CodecQ5_1>();
    case PanelForm::kQ2K: return body.template operator()<CodecQ2K>();
    case PanelForm::kQ3K: return body.template operator()<CodecQ3K>();
    case PanelForm::kQ4K: return body.template operator()<CodecQ4K>();
    case PanelForm::kQ5K: return body.template operator()<CodecQ5K>();
    case PanelForm::kQ6K: return body.template operator()<CodecQ6K>();
    case PanelForm::kIq4Nl: return body.template operator()<CodecIq4Nl>();
    case PanelForm::kIq4Xs: return body.template operator()<CodecIq4Xs>();
    case PanelForm::kMxfp4: return body.template operator()<CodecMxfp4>();
    case PanelForm::kNvfp4: return body.template operator()<CodecNvfp4>();
    case PanelForm::kInt4G32: return body.template operator()<CodecInt4<1>>();
    case PanelForm::kInt4G128: return body.template operator()<CodecInt4<4>>();
    case PanelForm::kFp8B128: return body.template operator()<CodecFp8>();
    case PanelForm::kCount: return;
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
