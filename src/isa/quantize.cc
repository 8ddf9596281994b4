// Encoders for tests and synthetic models: straightforward, deterministic, not searched for the
// least error.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

namespace {

void put_u16(u8* out, u16 value) {
  out[0] = static_cast<u8>(value);
  out[1] = static_cast<u8>(value >> 8);
}

// Writes the scale as f16 and returns what a reader will see.
f32 put_scale(u8* out, f32 scale) {
  u16 bits = f16_from_f32(scale);
  put_u16(out, bits);
  return f32_from_f16(bits);
}

// x / scale rounded to the nearest integer (halves up) in [low, high]; 0 scale gives the code of 0.
int code(f32 x, f32 scale, int low, int high) {
  if (scale == 0.0f) return std::clamp(0, low, high);
  f32 q = std::floor(x / scale + 0.5f);
  return static_cast<int>(std::clamp(q, static_cast<f32>(low), static_cast<f32>(high)));
}

f32 largest_magnitude(const f32* x, int n) {
  f32 largest = 0.0f;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

// The element of largest magnitude, with its sign: the first of equals.
f32 extreme_of(const f32* x, int n) {
  f32 extreme = 0.0f;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// The range of x with zero in it.
struct Range {
  f32 low;
  f32 high;
};
Range range_of(const f32* x, int n) {
  return {std::min(0.0f, *std::min_element(x, x + n)), std::max(0.0f, *std::max_element(x, x + n))};
}

void put_bits(u8& byte, int value, int shift) {
  byte = static_cast<u8>(byte | value << shift);
}

void quantize_q8_0(const f32* x, u8* out) {
  f32 d = put_scale(out, largest_magnitude(x, 32) / 127.0f);
  for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<u8>(code(x[i], d, -127, 127));
}

// The extreme with its sign takes code -8, so that no code is wasted.
void quantize_q4_0(const f32* x, u8* out) {
  f32 d = put_scale(out, extreme_of(x, 32) / -8.0f);
  for (int i = 0; i < 16; ++i) {
    int low = code(x[i], d, -8, 7) + 8;
    int high = code(x[i + 16], d, -8, 7) + 8;
    out[2 + i] = static_cast<u8>(low | high << 4);
  }
}

void quantize_q4_1(const f32* x, u8* out) {
  f32 low = *std::min_element(x, x + 32);
  f32 d = put_scale(out, (*std::max_element(x, x + 32) - low) / 15.0f);
  f32 m = put_scale(out + 2, low);
  for (int i = 0; i < 16; ++i) {
    out[4 + i] = static_cast<u8>(code(x[i] - m, d, 0, 15) | code(x[i + 16] - m, d, 0, 15) << 4);
  }
}

// Five-bit codes: the low four as q4_0 has them at `low`, the fifth bits in the word at `high`.
void put_five_bits(const int (&codes)[32], u8* high, u8* low) {
  std::fill(high, high + 4, u8{0});
  for (int i = 0; i < 32; ++i) put_bits(high[i / 8], codes[i] >> 4, i % 8);
  for (int i = 0; i < 16; ++i)
    low[i] = static_cast<u8>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
}

void quantize_q5_0(const f32* x, u8* out) {
  f32 d = put_scale(out, extreme_of(x, 32) / -16.0f);
  int codes[32];
  for (int i = 0; i < 32; ++i) codes[i] = code(x[i], d, -16, 15) + 16;
  put_five_bits(codes, out + 2, out + 6);
}

void quantize_q5_1(const f32* x, u8* out) {
  f32 low = *std::min_element(x, x + 32);
  f32 d = put_scale(out, (*std::max_element(x, x + 32) - low) / 31.0f);
  f32 m = put_scale(out + 2, low);
  int codes[32];
  for (int i = 0; i < 32; ++i) codes[i] = code(x[i] - m, d, 0, 31);
  put_five_bits(codes, out + 4, out + 8);
}

// Per sub-block of 16 a range that holds zero, in four-bit steps of the superblock's.
void quantize_q2_k(const f32* x, u8* out) {
  f32 scales[16];
  f32 mins[16];
  for (int j = 0; j < 16; ++j) {
    Range range = range_of(x + j * 16, 16);
    scales[j] = (range.high - range.low) / 3.0f;
    mins[j] = -range.low;
  }
  std::fill(out, out + 84, u8{0});
  f32 d = put_scale(out + 80, *std::max_element(scales, scales + 16) / 15.0f);
  f32 dmin = put_scale(out + 82, *std::max_element(mins, mins + 16) / 15.0f);
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<u8>(code(scales[j], d, 0, 15) | code(mins[j], dmin, 0, 15) << 4);
  }
  for (int i = 0; i < 256; ++i) {
    u8 pair = out[i / 16];
    f32 shifted = x[i] + dmin * static_cast<f32>(pair >> 4);
    int q = code(shifted, d * static_cast<f32>(pair & 15), 0, 3);
    put_bits(out[16 + i / 128 * 32 + i % 32], q, 2 * (i % 128 / 32));
  }
}

// The sub-block's extreme takes code -4 (its scale has the other sign).
void quantize_q3_k(const f32* x, u8* out) {
  f32 scales[16];
  for (int j = 0; j < 16; ++j) scales[j] = extreme_of(x + j * 16, 16) / -4.0f;
  std::fill(out, out + 110, u8{0});
  f32 d = put_scale(out + 108, largest_magnitude(scales, 16) / 31.0f);
  int steps[16];
  for (int j = 0; j < 16; ++j) {
    steps[j] = code(scales[j], d, -32, 31);
    int stored = steps[j] + 32;
    put_bits(out[96 + j % 8], stored & 15, j / 8 * 4);
    put_bits(out[104 + j % 4], stored >> 4, 2 * (j / 4));
  }
  for (int i = 0; i < 256; ++i) {
    int q = code(x[i], d * static_cast<f32>(steps[i / 16]), -4, 3) + 4;
    put_bits(out[32 + i / 128 * 32 + i % 32], q & 3, 2 * (i % 128 / 32));
    put_bits(out[i % 32], q >> 2, i / 32);
  }
}

void put_k4_scale(u8* s, int j, int scale, int min) {
  if (j < 4) {
    s[j] = static_cast<u8>(s[j] | scale);
    s[j + 4] = static_cast<u8>(s[j + 4] | min);
    return;
  }
  s[j + 4] = static_cast<u8>((scale & 15) | (min & 15) << 4);
  s[j - 4] = static_cast<u8>(s[j - 4] | scale >> 4 << 6);
  s[j] = static_cast<u8>(s[j] | min >> 4 << 6);
}

// The scales of q4_k and q5_k: per sub-block of 32 a range that holds zero, in 2^bits - 1 steps.
// Writes d, dmin and the six-bit fields; returns what a reader will see.
struct K4Scales {
  f32 scale[8];
  f32 min[8];
};
K4Scales put_k4_scales(const f32* x, int codes, u8* out) {
  K4Scales s;
  for (int j = 0; j < 8; ++j) {
    Range range = range_of(x + j * 32, 32);
    s.scale[j] = (range.high - range.low) / static_cast<f32>(codes);
    s.min[j] = -range.low;
  }
  f32 d = put_scale(out, *std::max_element(s.scale, s.scale + 8) / 63.0f);
  f32 dmin = put_scale(out + 2, *std::max_element(s.min, s.min + 8) / 63.0f);
  for (int j = 0; j < 8; ++j) {
    int scale = code(s.scale[j], d, 0, 63);
    int min = code(s.min[j], dmin, 0, 63);
    put_k4_scale(out + 4, j, scale, min);
    s.scale[j] = d * static_cast<f32>(scale);
    s.min[j] = dmin * static_cast<f32>(min);
  }
  return s;
}

void quantize_q4_k(const f32* x, u8* out) {
  std::fill(out, out + 144, u8{0});
  K4Scales s = put_k4_scales(x, 15, out);
  for (int i = 0; i < 256; ++i) {
    int j = i / 32;
    int q = code(x[i] + s.min[j], s.scale[j], 0, 15);
    put_bits(out[16 + j / 2 * 32 + i % 32], q, j % 2 * 4);
  }
}

void quantize_q5_k(const f32* x, u8* out) {
  std::fill(out, out + 176, u8{0});
  K4Scales s = put_k4_scales(x, 31, out);
  for (int i = 0; i < 256; ++i) {
    int j = i / 32;
    int q = code(x[i] + s.min[j], s.scale[j], 0, 31);
    put_bits(out[48 + j / 2 * 32 + i % 32], q & 15, j % 2 * 4);
    put_bits(out[16 + i % 32], q >> 4, j);
  }
}

void quantize_q6_k(const f32* x, u8* out) {
  f32 scales[16];
  for (int j = 0; j < 16; ++j) scales[j] = largest_magnitude(x + j * 16, 16) / 31.0f;
  std::fill(out, out + 210, u8{0});
  f32 d = put_scale(out + 208, *std::max_element(scales, scales + 16) / 127.0f);
  for (int j = 0; j < 16; ++j) out[192 + j] = static_cast<u8>(code(scales[j], d, 0, 127));
  for (int i = 0; i < 256; ++i) {
    int half = i / 128;
    int group = i % 128 / 32;
    int q = code(x[i], d * static_cast<f32>(out[192 + i / 16]), -32, 31) + 32;
    put_bits(out[half * 64 + group % 2 * 32 + i % 32], q & 15, group / 2 * 4);
    put_bits(out[128 + half * 32 + i % 32], q >> 4, group * 2);
  }
}

// The level nearest to x / scale; the first of equals.
int nearest_level(f32 x, f32 scale, const f32 (&table)[16]) {
  if (scale == 0.0f) return 0;
  f32 wanted = x / scale;
  int best = 0;
  for (int i = 1; i < 16; ++i) {
    if (std::fabs(table[i] - wanted) < std::fabs(table[best] - wanted)) best = i;
  }
  return best;
}

void put_levels(const f32* x, int bytes, f32 scale, const f32 (&table)[16], u8* out) {
  for (int i = 0; i < bytes; ++i) {
    int low = nearest_level(x[i], scale, table);
    out[i] = static_cast<u8>(low | nearest_level(x[i + bytes], scale, table) << 4);
  }
}

constexpr f32 kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};
constexpr f32 kE2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                           -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

// The extreme takes level -127.
void quantize_iq4_nl(const f32* x, u8* out) {
  f32 d = put_scale(out, extreme_of(x, 32) / -127.0f);
  put_levels(x, 16, d, kIq4Levels, out + 2);
}

void quantize_iq4_xs(const f32* x, u8* out) {
  f32 scales[8];
  for (int j = 0; j < 8; ++j) scales[j] = extreme_of(x + j * 32, 32) / -127.0f;
  std::fill(out, out + 136, u8{0});
  f32 d = put_scale(out, largest_magnitude(scales, 8) / 31.0f);
  for (int j = 0; j < 8; ++j) {
    int step = code(scales[j], d, -32, 31);
    put_bits(out[4 + j / 2], (step + 32) & 15, j % 2 * 4);
    put_bits(out[2 + j / 4], (step + 32) >> 4, 2 * (j % 4));
    put_levels(x + j * 32, 16, d * static_cast<f32>(step), kIq4Levels, out + 8 + j * 16);
  }
}

// OCP MX: the scale puts the largest magnitude into the top binade of e2m1.
void quantize_mxfp4(const f32* x, u8* out) {
  f32 largest = largest_magnitude(x, 32);
  int exponent = largest == 0.0f ? 0 : std::clamp(std::ilogb(largest) - 2, -127, 127);
  out[0] = static_cast<u8>(exponent + 127);
  put_levels(x, 16, std::ldexp(1.0f, exponent), kE2m1, out + 1);
}

void quantize_nvfp4(const f32* x, u8* out) {
  for (int j = 0; j < 4; ++j) {
    out[j] = e4m3_from_f32(largest_magnitude(x + j * 16, 16) / 6.0f);
    put_levels(x + j * 16, 8, f32_from_e4m3(out[j]), kE2m1, out + 4 + j * 8);
  }
}

template <int kElements>
void quantize_int4(const f32* x, u8* out) {
  Range range = range_of(x, kElements);
  f32 scale = put_scale(out, (range.high - range.low) / 15.0f);
  int zero = code(-range.low, scale, 0, 15);
  out[2] = static_cast<u8>(zero);
  out[3] = 0;
  for (int i = 0; i < kElements / 2; ++i) {
    int low = code(x[2 * i], scale, -zero, 15 - zero) + zero;
    int high = code(x[2 * i + 1], scale, -zero, 15 - zero) + zero;
    out[4 + i] = static_cast<u8>(low | high << 4);
  }
}

void quantize_f32(const f32* x, u8* out) {
  u32 bits = std::bit_cast<u32>(*x);
  for (int i = 0; i < 4; ++i) out[i] = static_cast<u8>(bits >> (8 * i));
}
void quantize_f16(const f32* x, u8* out) {
  put_u16(out, f16_from_f32(*x));
}
void quantize_bf16(const f32* x, u8* out) {
  put_u16(out, bf16_from_f32(*x));
}
void quantize_e4m3(const f32* x, u8* out) {
  *out = e4m3_from_f32(*x);
}
void quantize_e5m2(const f32* x, u8* out) {
  *out = e5m2_from_f32(*x);
}

void quantize_fp8_b128(const f32* x, u8* out) {
  f32 scale = largest_magnitude(x, 128) / 448.0f;
  quantize_f32(&scale, out);
  for (int i = 0; i < 128; ++i) out[4 + i] = e4m3_from_f32(scale == 0.0f ? 0.0f : x[i] / scale);
}

using BlockEncoder = void (*)(const f32*, u8*);

BlockEncoder encoder(DType codec) {
  switch (codec) {
    case DType::kF32: return quantize_f32;
    case DType::kF16: return quantize_f16;
    case DType::kBf16: return quantize_bf16;
    case DType::kE4m3: return quantize_e4m3;
    case DType::kE5m2: return quantize_e5m2;
    case DType::kQ4_0: return quantize_q4_0;
    case DType::kQ4_1: return quantize_q4_1;
    case DType::kQ5_0: return quantize_q5_0;
    case DType::kQ5_1: return quantize_q5_1;
    case DType::kQ8_0: return quantize_q8_0;
    case DType::kQ2K: return quantize_q2_k;
    case DType::kQ3K: return quantize_q3_k;
    case DType::kQ4K: return quantize_q4_k;
    case DType::kQ5K: return quantize_q5_k;
    case DType::kQ6K: return quantize_q6_k;
    case DType::kIq4Nl: return quantize_iq4_nl;
    case DType::kIq4Xs: return quantize_iq4_xs;
    case DType::kMxfp4: return quantize_mxfp4;
    case DType::kNvfp4: return quantize_nvfp4;
    case DType::kI4G32: return quantize_int4<32>;
    case DType::kI4G128: return quantize_int4<128>;
    case DType::kFp8B128: return quantize_fp8_b128;
    default: return nullptr;
  }
}

}  // namespace

bool can_quantize(DType codec) {
  return encoder(codec) != nullptr;
}

void quantize_row(DType codec, std::span<const f32> in, std::span<u8> row) {
  BlockEncoder encode_block = encoder(codec);
  TG_ASSERT(encode_block != nullptr);
  const DTypeInfo& t = info(codec);
  TG_ASSERT(static_cast<i64>(row.size()) == row_bytes(codec, static_cast<i64>(in.size())));
  std::size_t blocks = in.size() / static_cast<std::size_t>(t.block_elements);
  for (std::size_t i = 0; i < blocks; ++i) {
    encode_block(in.data() + i * static_cast<std::size_t>(t.block_elements),
                 row.data() + i * static_cast<std::size_t>(t.block_bytes));
  }
}

}  // namespace tg::isa
