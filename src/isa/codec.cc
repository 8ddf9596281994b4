// Dequantisation, one function per codec and block. Scales times codes are exact in f32 but for
// q6_k, iq4_xs and fp8_b128, where the last product rounds once; offsets are one more rounding.
// Compiled without contraction, so the bits are the same everywhere.
#include "isa/codec.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/assert.h"

namespace tg::isa {

namespace {

using Block = const u8*;

u16 u16_at(Block b) {
  return static_cast<u16>(b[0] | b[1] << 8);
}
u32 u32_at(Block b) {
  return u32{b[0]} | u32{b[1]} << 8 | u32{b[2]} << 16 | u32{b[3]} << 24;
}
f32 f16_at(Block b) {
  return f32_from_f16(u16_at(b));
}
i32 signed_byte(u8 b) {
  return static_cast<i8>(b);
}

void block_f32(Block b, f32* y) {
  *y = std::bit_cast<f32>(u32_at(b));
}
void block_f16(Block b, f32* y) {
  *y = f16_at(b);
}
void block_bf16(Block b, f32* y) {
  *y = f32_from_bf16(u16_at(b));
}
void block_e4m3(Block b, f32* y) {
  *y = f32_from_e4m3(*b);
}
void block_e5m2(Block b, f32* y) {
  *y = f32_from_e5m2(*b);
}

void block_q8_0(Block b, f32* y) {
  f32 d = f16_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<f32>(signed_byte(b[2 + i]));
}

// Low nibbles are elements 0..15 of a 32-element block, high nibbles 16..31.
void block_q4_0(Block b, f32* y) {
  f32 d = f16_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<f32>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<f32>((b[2 + i] >> 4) - 8);
  }
}

void block_q4_1(Block b, f32* y) {
  f32 d = f16_at(b);
  f32 m = f16_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<f32>(b[4 + i] & 15) + m;
    y[i + 16] = d * static_cast<f32>(b[4 + i] >> 4) + m;
  }
}

// The fifth bits of all 32 codes are one word.
i32 five_bits(u32 high, int i, int nibble) {
  return nibble | static_cast<i32>(high >> i & 1) << 4;
}

void block_q5_0(Block b, f32* y) {
  f32 d = f16_at(b);
  u32 high = u32_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<f32>(five_bits(high, i, b[6 + i] & 15) - 16);
    y[i + 16] = d * static_cast<f32>(five_bits(high, i + 16, b[6 + i] >> 4) - 16);
  }
}

void block_q5_1(Block b, f32* y) {
  f32 d = f16_at(b);
  f32 m = f16_at(b + 2);
  u32 high = u32_at(b + 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<f32>(five_bits(high, i, b[8 + i] & 15)) + m;
    y[i + 16] = d * static_cast<f32>(five_bits(high, i + 16, b[8 + i] >> 4)) + m;
  }
}

// 16 sub-blocks of 16; codes of two bits, four planes to a run of 32 bytes.
void block_q2_k(Block b, f32* y) {
  f32 d = f16_at(b + 80);
  f32 dmin = f16_at(b + 82);
  for (int i = 0; i < 256; ++i) {
    int half = i / 128;
    int plane = i % 128 / 32;
    u8 scale = b[i / 16];
    u8 code = b[16 + half * 32 + i % 32];
    y[i] = d * static_cast<f32>(scale & 15) * static_cast<f32>(code >> (2 * plane) & 3) -
           dmin * static_cast<f32>(scale >> 4);
  }
}

// Six-bit scale i of 16, packed in 12 bytes: four low bits first, two high bits behind.
i32 q3_k_scale(Block scales, int i) {
  int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
  int high = scales[8 + i % 4] >> (2 * (i / 4)) & 3;
  return (low | high << 4) - 32;
}

void block_q3_k(Block b, f32* y) {
  f32 d = f16_at(b + 108);
  for (int i = 0; i < 256; ++i) {
    int half = i / 128;
    int plane = i % 128 / 32;
    int low = b[32 + half * 32 + i % 32] >> (2 * plane) & 3;
    int high = b[i % 32] >> (half * 4 + plane) & 1;
    f32 scale = d * static_cast<f32>(q3_k_scale(b + 96, i / 16));
    y[i] = scale * static_cast<f32>(low - (high != 0 ? 0 : 4));
  }
}

struct ScaleMin {
  f32 scale;
  f32 min;
};

// Six-bit scale and minimum j of 8, packed in 12 bytes.
ScaleMin k4_scale(Block s, int j) {
  if (j < 4) return {static_cast<f32>(s[j] & 63), static_cast<f32>(s[j + 4] & 63)};
  int scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
  int min = s[j + 4] >> 4 | s[j] >> 6 << 4;
  return {static_cast<f32>(scale), static_cast<f32>(min)};
}

// Sub-blocks of 32: the low nibbles of 32 bytes, then their high nibbles.
void block_q4_k(Block b, f32* y) {
  f32 d = f16_at(b);
  f32 dmin = f16_at(b + 2);
  for (int j = 0; j < 8; ++j) {
    ScaleMin s = k4_scale(b + 4, j);
    Block codes = b + 16 + j / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int code = codes[i] >> (j % 2 * 4) & 15;
      y[j * 32 + i] = d * s.scale * static_cast<f32>(code) - dmin * s.min;
    }
  }
}

void block_q5_k(Block b, f32* y) {
  f32 d = f16_at(b);
  f32 dmin = f16_at(b + 2);
  for (int j = 0; j < 8; ++j) {
    ScaleMin s = k4_scale(b + 4, j);
    Block codes = b + 48 + j / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int code = (codes[i] >> (j % 2 * 4) & 15) | (b[16 + i] >> j & 1) << 4;
      y[j * 32 + i] = d * s.scale * static_cast<f32>(code) - dmin * s.min;
    }
  }
}

// Sub-blocks of 16; each half of 128 interleaves four groups of 32.
void block_q6_k(Block b, f32* y) {
  f32 d = f16_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    int half = i / 128;
    int group = i % 128 / 32;
    int low = b[half * 64 + group % 2 * 32 + i % 32] >> (group / 2 * 4) & 15;
    int high = b[128 + half * 32 + i % 32] >> (group * 2) & 3;
    f32 scale = d * static_cast<f32>(signed_byte(b[192 + i / 16]));
    y[i] = scale * static_cast<f32>((low | high << 4) - 32);
  }
}

constexpr f32 kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};
// E2M1 times two, so that levels are integers; both zeros are positive.
constexpr f32 kTwiceE2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// `bytes` bytes: their low nibbles first, then their high ones.
void levels(Block codes, int bytes, f32 scale, const f32 (&table)[16], f32* y) {
  for (int i = 0; i < bytes; ++i) {
    y[i] = scale * table[codes[i] & 15];
    y[i + bytes] = scale * table[codes[i] >> 4];
  }
}

void block_iq4_nl(Block b, f32* y) {
  levels(b + 2, 16, f16_at(b), kIq4Levels, y);
}

// Eight sub-blocks of 32 with six-bit scales: the four low bits in nibbles, the two high ones in a
// word of 16.
void block_iq4_xs(Block b, f32* y) {
  f32 d = f16_at(b);
  u16 high = u16_at(b + 2);
  for (int j = 0; j < 8; ++j) {
    int scale = (b[4 + j / 2] >> (j % 2 * 4) & 15) | (high >> (2 * j) & 3) << 4;
    levels(b + 8 + j * 16, 16, d * static_cast<f32>(scale - 32), kIq4Levels, y + j * 32);
  }
}

// OCP MX: a power-of-two scale (255 is NaN) and E2M1 codes.
void block_mxfp4(Block b, f32* y) {
  f32 half = b[0] == 255 ? std::bit_cast<f32>(0x7FC00000u) : std::ldexp(1.0f, b[0] - 128);
  levels(b + 1, 16, half, kTwiceE2m1, y);
}

// Four sub-blocks of 16, each with an E4M3 scale whose sign is not read and whose NaN counts as 0.
void block_nvfp4(Block b, f32* y) {
  for (int j = 0; j < 4; ++j) {
    u8 bits = b[j] & 0x7F;
    f32 half = bits == 0x7F ? 0.0f : f32_from_e4m3(bits) * 0.5f;
    levels(b + 4 + j * 8, 8, half, kTwiceE2m1, y + j * 16);
  }
}

// w = (q - zero) * scale; neighbours share a byte.
template <int kElements>
void block_int4(Block b, f32* y) {
  f32 scale = f16_at(b);
  int zero = b[2];
  for (int i = 0; i < kElements / 2; ++i) {
    y[2 * i] = static_cast<f32>((b[4 + i] & 15) - zero) * scale;
    y[2 * i + 1] = static_cast<f32>((b[4 + i] >> 4) - zero) * scale;
  }
}

void block_fp8_b128(Block b, f32* y) {
  f32 scale = std::bit_cast<f32>(u32_at(b));
  for (int i = 0; i < 128; ++i) y[i] = scale * f32_from_e4m3(b[4 + i]);
}

using BlockDecoder = void (*)(Block, f32*);

BlockDecoder decoder(DType codec) {
  switch (codec) {
    case DType::kF32: return block_f32;
    case DType::kF16: return block_f16;
    case DType::kBf16: return block_bf16;
    case DType::kE4m3: return block_e4m3;
    case DType::kE5m2: return block_e5m2;
    case DType::kQ4_0: return block_q4_0;
    case DType::kQ4_1: return block_q4_1;
    case DType::kQ5_0: return block_q5_0;
    case DType::kQ5_1: return block_q5_1;
    case DType::kQ8_0: return block_q8_0;
    case DType::kQ2K: return block_q2_k;
    case DType::kQ3K: return block_q3_k;
    case DType::kQ4K: return block_q4_k;
    case DType::kQ5K: return block_q5_k;
    case DType::kQ6K: return block_q6_k;
    case DType::kIq4Nl: return block_iq4_nl;
    case DType::kIq4Xs: return block_iq4_xs;
    case DType::kMxfp4: return block_mxfp4;
    case DType::kNvfp4: return block_nvfp4;
    case DType::kI4G32: return block_int4<32>;
    case DType::kI4G128: return block_int4<128>;
    case DType::kFp8B128: return block_fp8_b128;
    default: return nullptr;
  }
}

}  // namespace

bool can_dequantize(DType codec) {
  return decoder(codec) != nullptr;
}

bool is_weight_codec(DType codec) {
  return can_dequantize(codec) && codec != DType::kE4m3 && codec != DType::kE5m2;
}

void dequantize_row(DType codec, std::span<const u8> row, std::span<f32> out) {
  BlockDecoder decode_block = decoder(codec);
  TG_ASSERT(decode_block != nullptr);
  const DTypeInfo& t = info(codec);
  TG_ASSERT(static_cast<i64>(row.size()) == row_bytes(codec, static_cast<i64>(out.size())));
  std::size_t blocks = out.size() / static_cast<std::size_t>(t.block_elements);
  for (std::size_t i = 0; i < blocks; ++i) {
    decode_block(row.data() + i * static_cast<std::size_t>(t.block_bytes),
                 out.data() + i * static_cast<std::size_t>(t.block_elements));
  }
}

}  // namespace tg::isa
