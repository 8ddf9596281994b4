// How a kernel reads panels: for each codec, the weights of a sub-block of 16 rows as integers that
// multiply int8 activations, or as floats, and the sub-block's scale and min.
#pragma once

#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/panel.h"

namespace tg::backend::cpu::TG_VARIANT {

struct Pair {
  V low, high;
};

// Codecs of floats: kSub columns in one go, pair(j) columns j and j + half of them.
template <typename Panel, int kSubsOf>
struct Floats {
  using Block = Panel;
  static constexpr int kSubs = kSubsOf, kSub = 32;
  static constexpr bool kCodes = false, kMin = false;
};

// Codecs of small integers: kSubs sub-blocks of kSub columns, in each of which a weight is
// scale * (code - kOffset), or with kMin scale * code - min. codes(g) has columns 4g .. 4g + 3 in
// the bytes of each lane. kUnit: floats are made of each weight at once, because its offset would
// cancel against its code in sums. kPaired: int8.h works on two panels at a time. kWide: codes may
// be above 127.
template <typename Panel, int kSubsOf, int kSubOf, int kOffsetOf, bool kMinOf = false>
struct Integers {
  using Block = Panel;
  static constexpr int kSubs = kSubsOf, kSub = kSubOf, kOffset = kOffsetOf;
  static constexpr bool kCodes = true, kMin = kMinOf, kUnit = false, kPaired = false;
  static constexpr bool kWide = kOffset > 64;
};

struct CodecF32 : Floats<PanelF32, 1> {
  static constexpr bool kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    Pair pair(int j) const { return {load(block.w[j]), load(block.w[j + 16])}; }
  };
};

struct CodecF16 : Floats<PanelF16, 1> {
  static constexpr bool kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    Pair pair(int j) const { return {load_f16(block.w[j]), load_f16(block.w[j + 16])}; }
  };
};

struct CodecBf16 : Floats<PanelBf16, 1> {
  static constexpr bool kUnit = true;
  struct Sub {
    const Block& block;
    Sub(const Block& b, int) : block(b) {}
    V column(int c) const {
      I both = load_u32(block.w[c / 2]);
      return as_f32(c % 2 == 0 ? shift_left(both, 16)
                               : bit_and(both, static_cast<i32>(0xFFFF0000)));
    }
    Pair pair(int j) const { return {column(j), column(j + 16)}; }
  };
};

// The exponent's bias moves from 7 to 127 by a factor of 2^120, which makes subnormals normal too.
static inline V from_e4m3(I bits) {
  I magnitude = bit_and(bits, 0x7F);
  V value = as_f32(bit_or(shift_left(magnitude, 20), shift_left(bit_and(bits, 0x80), 24)));
  return if_less(to_f32(magnitude), set1(127.0f), mul(value, set1(0x1p120f)),
                 set1(__builtin_nanf("")));
}

struct CodecFp8 : Floats<PanelFp8, 4> {
  static constexpr bool kUnit = false;
  struct Sub {
    const u8 (*q)[16];
    V scale;
    Sub(const Block& b, int s) : q(b.q + 32 * s), scale(load(b.scale)) {}
    Pair pair(int j) const { return {from_e4m3(load_u8(q[j])), from_e4m3(load_u8(q[j + 16]))}; }
  };
};

// Word g of the low nibbles, then of the high ones; a sub-block has kWords of each.
template <int kWords>
static inline I nibbles(const u32 (&q)[kWords][16], int g) {
  I both = load_u32(q[g % kWords]);
  return bit_and(g < kWords ? both : shift_right(both, 4), 0x0F0F0F0F);
}
// Field g of `bits` bits in each byte of `word`, moved up to bit `to`.
static inline I field(I word, int g, int bits, int to) {
  int at = g * bits;
  I moved = at < to ? shift_left(word, to - at) : shift_right(word, at - to);
  return bit_and(moved, 0x01010101 * (((1 << bits) - 1) << to));
}
static inline V scale_of(const u16 (&d)[16], const i8 (&scale)[16]) {
  return mul(load_f16(d), to_f32(load_i8(scale)));
}

// Number i of SixBits.
static inline I six_bits(const u32 (&words)[3][16], int i) {
  if (i < 15) return bit_and(shift_right(load_u32(words[SixBits::word(i)]), SixBits::shift(i)), 63);
  I low = shift_right(load_u32(words[0]), SixBits::kTop);
  I middle = bit_and(shift_right(load_u32(words[1]), SixBits::kTop - 2), 3 << 2);
  I high = bit_and(shift_right(load_u32(words[2]), SixBits::kTop - 4), 3 << 4);
  return bit_or(bit_or(low, middle), high);
}
static inline V scale_of(const u16 (&d)[16], const u32 (&words)[3][16], int i) {
  return mul(load_f16(d), to_f32(six_bits(words, i)));
}

struct CodecQ8_0 : Integers<PanelQ8_0, 1, 32, 128> {
  static constexpr bool kPaired = true;
  struct Sub {
    const Block& block;
    V scale;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    I codes(int g) const { return load_u32(block.q[g]); }
  };
};

struct CodecQ4_0 : Integers<PanelQ4_0, 1, 32, 8> {
  static constexpr bool kPaired = true;
  struct Sub {
    const Block& block;
    V scale;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    I codes(int g) const { return nibbles(block.q, g); }
  };
};

struct CodecQ4_1 : Integers<PanelQ4_1, 1, 32, 0, true> {
  static constexpr bool kUnit = true;
  struct Sub {
    const Block& block;
    V scale, plus, min;
    Sub(const Block& b, int)
        : block(b), scale(load_f16(b.d)), plus(load_f16(b.m)), min(sub(zero(), plus)) {}
    I codes(int g) const { return nibbles(block.q, g); }
  };
};

struct CodecQ5_0 : Integers<PanelQ5_0, 1, 32, 16> {
  struct Sub {
    const Block& block;
    V scale;
    I high;
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)), high(load_u32(b.high)) {}
    I codes(int g) const { return bit_or(nibbles(block.q, g), field(high, g, 1, 4)); }
  };
};

struct CodecQ5_1 : Integers<PanelQ5_1, 1, 32, 0, true> {
  static constexpr bool kUnit = true;
  struct Sub {
    const Block& block;
    V scale, plus, min;
    I high;
    Sub(const Block& b, int)
        : block(b),
          scale(load_f16(b.d)),
          plus(load_f16(b.m)),
          min(sub(zero(), plus)),
          high(load_u32(b.high)) {}
    I codes(int g) const { return bit_or(nibbles(block.q, g), field(high, g, 1, 4)); }
  };
};

struct CodecQ2K : Integers<PanelQ2K, 16, 16, 0, true> {
  static constexpr bool kUnit = true;
  struct Sub {
    V scale, min, plus;
    I q;
    Sub(const Block& b, int s) : q(load_u32(b.q[s])) {
      I fields = load_u8(b.scale_min[s]);
      scale = mul(load_f16(b.d), to_f32(bit_and(fields, 15)));
      min = mul(load_f16(b.dmin), to_f32(shift_right(fields, 4)));
      plus = sub(zero(), min);
    }
    I codes(int g) const { return field(q, g, 2, 0); }
  };
};

struct CodecQ3K : Integers<PanelQ3K, 16, 16, 4> {
  struct Sub {
    V scale;
    I low, high;
    Sub(const Block& b, int s)
        : scale(scale_of(b.d, b.scale[s])),
          low(load_u32(b.low[s])),
          high(shift_right(load_u32(b.high[s / 2]), s % 2 * 4)) {}
    I codes(int g) const { return bit_or(field(low, g, 2, 0), field(high, g, 1, 2)); }
  };
};

struct CodecQ4K : Integers<PanelQ4K, 8, 32, 0, true> {
  static constexpr bool kPaired = true;
  struct Sub {
    const u32 (&q)[4][16];
    V scale, min;
    Sub(const Block& b, int s)
        : q(b.q[s]),
          scale(scale_of(b.d, b.scale_min, s)),
          min(scale_of(b.dmin, b.scale_min, 8 + s)) {}
    I codes(int g) const { return nibbles(q, g); }
  };
};

struct CodecQ5K : Integers<PanelQ5K, 8, 32, 0, true> {
  static constexpr bool kPaired = true;
  struct Sub {
    const u32 (&q)[4][16];
    V scale, min;
    I high;
    Sub(const Block& b, int s)
        : q(b.q[s]),
          scale(scale_of(b.d, b.scale_min, s)),
          min(scale_of(b.dmin, b.scale_min, 8 + s)),
          high(load_u32(b.high[s])) {}
    I codes(int g) const { return bit_or(nibbles(q, g), field(high, g, 1, 4)); }
  };
};

struct CodecQ6K : Integers<PanelQ6K, 16, 16, 32> {
  static constexpr bool kPaired = true;
  struct Sub {
    const u32 (&q)[2][16];
    V scale;
    I high;
    Sub(const Block& b, int s)
        : q(b.q[s]), scale(scale_of(b.d, b.scale[s])), high(load_u32(b.high[s])) {}
    I codes(int g) const { return bit_or(nibbles(q, g), field(high, g, 2, 4)); }
  };
};

// Levels plus the codec's offset, to be looked up by nibbles.
static constexpr u8 kIq4Levels[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                      129, 141, 153, 166, 181, 197, 217, 241};
static constexpr u8 kTwiceE2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct CodecIq4Nl : Integers<PanelIq4Nl, 1, 32, 128> {
  struct Sub {
    const Block& block;
    V scale;
    I table = make_table(kIq4Levels);
    Sub(const Block& b, int) : block(b), scale(load_f16(b.d)) {}
    I codes(int g) const { return look_up(nibbles(block.q, g), table); }
  };
};

struct CodecIq4Xs : Integers<PanelIq4Xs, 8, 32, 128> {
  struct Sub {
    const u32 (&q)[4][16];
    V scale;
    I table = make_table(kIq4Levels);
    Sub(const Block& b, int s) : q(b.q[s]), scale(scale_of(b.d, b.scale[s])) {}
    I codes(int g) const { return look_up(nibbles(q, g), table); }
  };
};

struct CodecMxfp4 : Integers<PanelMxfp4, 1, 32, 12> {
  struct Sub {
    const Block& block;
    V scale;
    I table = make_table(kTwiceE2m1);
    Sub(const Block& b, int) : block(b), scale(load_bf16(b.half)) {}
    I codes(int g) const { return look_up(nibbles(block.q, g), table); }
  };
};

struct CodecNvfp4 : Integers<PanelNvfp4, 4, 16, 12> {
  struct Sub {
    const u32 (&q)[2][16];
    V scale;
    I table = make_table(kTwiceE2m1);
    Sub(const Block& b, int s) : q(b.q[s]), scale(load_f16(b.half[s])) {}
    I codes(int g) const { return look_up(nibbles(q, g), table); }
  };
};

template <int kBlocks>
struct CodecInt4 : Integers<PanelInt4<kBlocks>, kBlocks, 32, 0, true> {
  static constexpr bool kUnit = true;
  struct Sub {
    const u32 (&q)[4][16];
    V scale, zero_point, min;
    Sub(const PanelInt4<kBlocks>& b, int s)
        : q(b.q[s]),
          scale(load_f16(b.d)),
          zero_point(to_f32(load_u8(b.zero))),
          min(mul(scale, zero_point)) {}
    I codes(int g) const { return nibbles(q, g); }
  };
};

// What the sums of a sub-block's products are scaled with is a factor of `number`'s results.
template <typename Codec>
static inline V number(const typename Codec::Sub& sub_block, I code) {
  if constexpr (requires { sub_block.zero_point; }) {
    return mul(sub(to_f32(code), sub_block.zero_point), sub_block.scale);
  } else if constexpr (Codec::kUnit) {
    return add(mul(to_f32(code), sub_block.scale), sub_block.plus);
  } else {
    return to_f32(add_int(code, -Codec::kOffset));
  }
}

// body(j, pair) for the columns j and j + half of a sub-block as floats, in order of j.
template <typename Codec, typename Body>
static inline void each_pair(const typename Codec::Sub& sub_block, const Body& body) {
  constexpr int kHalf = Codec::kSub / 2;
  if constexpr (Codec::kCodes) {
#pragma GCC unroll 4
    for (int g = 0; g < kHalf / 4; ++g) {
      I low = sub_block.codes(g);
      I high = sub_block.codes(g + kHalf / 4);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) {
        V first = number<Codec>(sub_block, bit_and(shift_right(low, 8 * b), 255));
        V second = number<Codec>(sub_block, bit_and(shift_right(high, 8 * b), 255));
        body(4 * g + b, Pair{first, second});
      }
    }
  } else {
#pragma GCC unroll 16
    for (int j = 0; j < kHalf; ++j) body(j, sub_block.pair(j));
  }
}

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
