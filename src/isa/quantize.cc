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

void quantize_q8_0(const f32* x, u8* out) {
  f32 d = put_scale(out, largest_magnitude(x, 32) / 127.0f);
  for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<u8>(code(x[i], d, -127, 127));
}

// The extreme with its sign takes code -8, so that no code is wasted.
void quantize_q4_0(const f32* x, u8* out) {
  f32 extreme = 0.0f;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  f32 d = put_scale(out, extreme / -8.0f);
  for (int i = 0; i < 16; ++i) {
    int low = code(x[i], d, -8, 7) + 8;
    int high = code(x[i + 16], d, -8, 7) + 8;
    out[2 + i] = static_cast<u8>(low | high << 4);
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

void quantize_q4_k(const f32* x, u8* out) {
  f32 scales[8];
  f32 mins[8];
  for (int j = 0; j < 8; ++j) {
    const f32* sub = x + j * 32;
    f32 low = std::min(0.0f, *std::min_element(sub, sub + 32));
    f32 high = std::max(0.0f, *std::max_element(sub, sub + 32));
    scales[j] = (high - low) / 15.0f;
    mins[j] = -low;
  }
  std::fill(out, out + 144, u8{0});
  f32 d = put_scale(out, *std::max_element(scales, scales + 8) / 63.0f);
  f32 dmin = put_scale(out + 2, *std::max_element(mins, mins + 8) / 63.0f);
  for (int j = 0; j < 8; ++j) {
    int scale = code(scales[j], d, 0, 63);
    int min = code(mins[j], dmin, 0, 63);
    put_k4_scale(out + 4, j, scale, min);
    for (int i = 0; i < 32; ++i) {
      f32 shifted = x[j * 32 + i] + dmin * static_cast<f32>(min);
      int q = code(shifted, d * static_cast<f32>(scale), 0, 15);
      u8& byte = out[16 + j / 2 * 32 + i];
      byte = static_cast<u8>(byte | q << (j % 2 * 4));
    }
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
    u8& low = out[half * 64 + group % 2 * 32 + i % 32];
    u8& high = out[128 + half * 32 + i % 32];
    low = static_cast<u8>(low | (q & 15) << (group / 2 * 4));
    high = static_cast<u8>(high | q >> 4 << (group * 2));
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

using BlockEncoder = void (*)(const f32*, u8*);

BlockEncoder encoder(DType codec) {
  switch (codec) {
    case DType::kF32: return quantize_f32;
    case DType::kF16: return quantize_f16;
    case DType::kBf16: return quantize_bf16;
    case DType::kQ8_0: return quantize_q8_0;
    case DType::kQ4_0: return quantize_q4_0;
    case DType::kQ4K: return quantize_q4_k;
    case DType::kQ6K: return quantize_q6_k;
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
