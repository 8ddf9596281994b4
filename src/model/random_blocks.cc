// Every codec starts from random bytes; what must not be random is then overwritten.
#include "model/random_blocks.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::model {
namespace {

using isa::DType;

void put_u16(u8* at, u16 v) {
  at[0] = static_cast<u8>(v);
  at[1] = static_cast<u8>(v >> 8);
}

void put_f32(u8* at, f32 v) {
  std::memcpy(at, &v, sizeof v);
}

// A scale between 0.75 and 1.25 of `scale`, so that blocks differ.
u16 varied_scale(SeededRandom& random, f32 scale) {
  f32 share = 0.75f + 0.5f * static_cast<f32>(random.uniform());
  return isa::f16_from_f32(scale * share);
}

// Uniform on +-sqrt(3) deviations, from 16 random bits.
f32 uniform_weight(u16 bits, f32 deviation) {
  f32 half_width = 1.7320508f * deviation;
  return (static_cast<f32>(bits) - 32'767.5f) * (half_width / 32'767.5f);
}

// Replaces each 16 random bits by a weight of the 16-bit type.
void shape_halves(DType codec, f32 deviation, std::span<u8> out) {
  for (std::size_t i = 0; i < out.size(); i += 2) {
    u16 bits = static_cast<u16>(out[i] | out[i + 1] << 8);
    f32 weight = uniform_weight(bits, deviation);
    put_u16(&out[i], codec == DType::kF16 ? isa::f16_from_f32(weight) : isa::bf16_from_f32(weight));
  }
}

void shape_f32(f32 deviation, std::span<u8> out) {
  for (std::size_t i = 0; i < out.size(); i += 4)
    put_f32(&out[i], uniform_weight(static_cast<u16>(out[i] | out[i + 1] << 8), deviation));
}

// q8_0: f16 scale, 32 signed bytes. Encoders never write -128.
void shape_q8_0(SeededRandom& random, f32 deviation, u8* block) {
  constexpr f32 kDeviation = 73.6f;  // of a uniform signed byte
  put_u16(block, varied_scale(random, deviation / kDeviation));
  for (i64 i = 2; i < 34; ++i) block[i] = block[i] == 0x80 ? 0x81 : block[i];
}

// q4_0: f16 scale, 32 nibbles less 8. Their mean is -1/2, so scales take either sign.
void shape_q4_0(SeededRandom& random, f32 deviation, u8* block) {
  constexpr f32 kDeviation = 4.64f;
  u16 sign = static_cast<u16>((block[0] & 1) << 15);
  put_u16(block, static_cast<u16>(varied_scale(random, deviation / kDeviation) | sign));
}

// q4_k: weights are d*sc*q - dmin*m for eight sub-blocks of 32 with 6-bit sc and m. With m = sc and
// dmin = 7.5 d a sub-block is d*sc*(q - 7.5), which has mean zero.
void shape_q4_k(SeededRandom& random, f32 deviation, u8* block) {
  constexpr f32 kDeviation = 4.61f * 48.5f;  // nibbles times the root mean square of sc
  f32 d = isa::f32_from_f16(varied_scale(random, deviation / kDeviation));
  put_u16(block, isa::f16_from_f32(d));
  put_u16(block + 2, isa::f16_from_f32(7.5f * d));
  u8* packed = block + 4;
  for (i64 j = 0; j < 4; ++j) {
    u32 low = 32 + (packed[j] & 31);       // sc of sub-block j, 32..63
    u32 high = 32 + (packed[j + 4] & 31);  // sc of sub-block j + 4
    packed[j] = packed[j + 4] = static_cast<u8>(low | high >> 4 << 6);
    packed[j + 8] = static_cast<u8>((high & 15) | (high & 15) << 4);
  }
}

// q6_k: 128 + 64 bytes of 6-bit quants less 32, 16 signed byte scales of either sign, f16 scale.
void shape_q6_k(SeededRandom& random, f32 deviation, u8* block) {
  constexpr f32 kDeviation = 18.48f * 24.2f;
  for (i64 i = 192; i < 208; ++i) {
    i32 scale = 16 + (block[i] & 15);
    block[i] = static_cast<u8>((block[i] & 0x80) != 0 ? -scale : scale);
  }
  put_u16(block + 208, varied_scale(random, deviation / kDeviation));
}

// mxfp4: a power of two, then 32 nibbles of e2m1. Two neighbouring powers are mixed so that the
// mean square is the deviation's.
void shape_mxfp4(SeededRandom& random, f32 deviation, u8* block) {
  constexpr f32 kDeviation = 2.9262f;  // of a uniform e2m1
  f32 scale = deviation / kDeviation;
  i32 power = static_cast<i32>(std::floor(std::log2(scale)));
  f32 ratio = scale / std::ldexp(1.0f, power);
  bool is_upper = static_cast<f32>(random.uniform()) < (ratio * ratio - 1) / 3;
  block[0] = static_cast<u8>(127 + power + (is_upper ? 1 : 0));
}

}  // namespace

bool can_fill_random(DType codec) {
  return codec == DType::kF32 || codec == DType::kF16 || codec == DType::kBf16 ||
         codec == DType::kQ8_0 || codec == DType::kQ4_0 || codec == DType::kQ4K ||
         codec == DType::kQ6K || codec == DType::kMxfp4;
}

void fill_random(DType codec, SeededRandom& random, std::span<u8> out, f32 deviation) {
  TG_ASSERT(can_fill_random(codec) && deviation > 0);
  std::size_t block_bytes = static_cast<std::size_t>(isa::info(codec).block_bytes);
  TG_ASSERT(out.size() % block_bytes == 0);
  random.fill(out);
  if (codec == DType::kF32) return shape_f32(deviation, out);
  if (codec == DType::kF16 || codec == DType::kBf16) return shape_halves(codec, deviation, out);
  for (std::size_t at = 0; at < out.size(); at += block_bytes) {
    if (codec == DType::kQ8_0) shape_q8_0(random, deviation, &out[at]);
    if (codec == DType::kQ4_0) shape_q4_0(random, deviation, &out[at]);
    if (codec == DType::kQ4K) shape_q4_k(random, deviation, &out[at]);
    if (codec == DType::kQ6K) shape_q6_k(random, deviation, &out[at]);
    if (codec == DType::kMxfp4) shape_mxfp4(random, deviation, &out[at]);
  }
}

void fill_random_gains(SeededRandom& random, std::span<u8> out) {
  TG_ASSERT(out.size() % 4 == 0);
  for (std::size_t i = 0; i < out.size(); i += 4)
    put_f32(&out[i], 0.9f + 0.2f * static_cast<f32>(random.uniform()));
}

}  // namespace tg::model
