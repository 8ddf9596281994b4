// Codecs: small floats over all bit patterns, dequantisation against layouts written out by hand
// and against an independent reading (testdata/codec_blocks.py), encoders against the error their
// step allows.
#include "isa/codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <string>

#include "base/hash.h"

namespace tg::isa {
namespace {

TEST(Half, EveryPatternSurvivesTheRoundTrip) {
  for (u32 bits = 0; bits < 65'536; ++bits) {
    u16 half = static_cast<u16>(bits);
    f32 wide = f32_from_f16(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(wide))));
      EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(wide))));
    } else {
      EXPECT_EQ(f16_from_f32(wide), half) << bits;
    }
    f32 brain = f32_from_bf16(half);
    if (!std::isnan(brain)) {
      EXPECT_EQ(bf16_from_f32(brain), half) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  // Between every two neighbours: the middle goes to the even one, either side to the nearer.
  for (u16 low = 0; low < 0x7BFF; ++low) {
    u16 high = static_cast<u16>(low + 1);
    f32 middle = (f32_from_f16(low) + f32_from_f16(high)) / 2;
    u16 even = low % 2 == 0 ? low : high;
    ASSERT_EQ(f16_from_f32(middle), even) << low;
    ASSERT_EQ(f16_from_f32(std::nextafter(middle, 0.0f)), low);
    ASSERT_EQ(f16_from_f32(std::nextafter(middle, INFINITY)), high);
    ASSERT_EQ(f16_from_f32(-middle), even | 0x8000);
  }
  EXPECT_EQ(f16_from_f32(65'519.996f), 0x7BFF);
  EXPECT_EQ(f16_from_f32(65'520.0f), 0x7C00);
  EXPECT_EQ(f16_from_f32(INFINITY), 0x7C00);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<f32>(0x3F808000u)), 0x3F80);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<f32>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<f32>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<f32>(0x7F7FFFFFu)), 0x7F80);
}

struct SmallFloat {
  f32 (*read)(u8);
  u8 (*write)(f32);
  u8 largest;  // code of the largest finite value
  f32 least;   // smallest subnormal
};
constexpr SmallFloat kSmallFloats[] = {{f32_from_e4m3, e4m3_from_f32, 0x7E, 0x1p-9f},
                                       {f32_from_e5m2, e5m2_from_f32, 0x7B, 0x1p-16f}};

TEST(SmallFloat, EveryFinitePatternSurvivesTheRoundTrip) {
  for (const SmallFloat& f : kSmallFloats) {
    for (u32 bits = 0; bits < 256; ++bits) {
      u8 byte = static_cast<u8>(bits);
      if ((byte & 0x7F) <= f.largest) {
        EXPECT_EQ(f.write(f.read(byte)), byte);
      } else if (std::isnan(f.read(byte))) {
        EXPECT_TRUE(std::isnan(f.read(f.write(f.read(byte)))));
      }
    }
  }
  EXPECT_EQ(f32_from_e4m3(0x7E), 448.0f);
  EXPECT_EQ(f32_from_e4m3(0xB8), -1.0f);
  EXPECT_TRUE(std::isnan(f32_from_e4m3(0xFF)));
  EXPECT_EQ(f32_from_e5m2(0x7B), 57'344.0f);
  EXPECT_EQ(f32_from_e5m2(0x7C), INFINITY);
}

TEST(SmallFloat, RoundsToNearestEvenAndSaturates) {
  for (const SmallFloat& f : kSmallFloats) {
    for (u8 low = 0; low < f.largest; ++low) {
      u8 high = static_cast<u8>(low + 1);
      f32 middle = (f.read(low) + f.read(high)) / 2;
      ASSERT_EQ(f.write(middle), low % 2 == 0 ? low : high) << int{low};
      ASSERT_EQ(f.write(std::nextafter(middle, 0.0f)), low);
      ASSERT_EQ(f.write(std::nextafter(middle, INFINITY)), high);
      ASSERT_EQ(f.write(-middle), f.write(middle) | 0x80);
    }
    for (f32 huge : {f.read(f.largest) * 1.0001f, 1e30f, INFINITY}) {
      EXPECT_EQ(f.write(huge), f.largest);
      EXPECT_EQ(f.write(-huge), f.largest | 0x80);
    }
    EXPECT_EQ(f.write(f.least / 2), 0);
    EXPECT_EQ(f.write(1e-40f), 0);
  }
  EXPECT_EQ(round_to(DType::kE4m3, 3.3f), 3.25f);
  EXPECT_EQ(round_to(DType::kE5m2, 3.3f), 3.5f);
}

std::vector<f32> block_of(DType codec, std::vector<u8> bytes) {
  std::vector<f32> out(static_cast<std::size_t>(info(codec).block_elements));
  EXPECT_EQ(static_cast<i64>(bytes.size()), info(codec).block_bytes);
  dequantize_row(codec, bytes, out);
  return out;
}

// `n` copies of a byte.
std::vector<u8>& append(std::vector<u8>& to, u8 byte, std::size_t n) {
  to.insert(to.end(), n, byte);
  return to;
}

constexpr u8 kOneLow = 0x00;  // 1.0 as f16
constexpr u8 kOneHigh = 0x3C;

TEST(Codec, BlocksOfThirtyTwo) {
  std::vector<u8> q8{kOneLow, kOneHigh};
  for (int i = 0; i < 32; ++i) q8.push_back(static_cast<u8>(i - 16));
  EXPECT_EQ(block_of(DType::kQ8_0, q8)[0], -16.0f);
  EXPECT_EQ(block_of(DType::kQ8_0, q8)[31], 15.0f);

  std::vector<u8> q4{kOneLow, kOneHigh};
  for (int i = 0; i < 16; ++i) q4.push_back(static_cast<u8>(i | (15 - i) << 4));
  EXPECT_EQ(block_of(DType::kQ4_0, q4)[3], 3.0f - 8.0f);
  EXPECT_EQ(block_of(DType::kQ4_0, q4)[16 + 3], 12.0f - 8.0f);

  std::vector<u8> q41{kOneLow, kOneHigh, 0x00, 0x40};  // d = 1, m = 2
  append(q41, 0x5A, 16);
  EXPECT_EQ(block_of(DType::kQ4_1, q41)[0], 12.0f);
  EXPECT_EQ(block_of(DType::kQ4_1, q41)[16], 7.0f);

  std::vector<u8> q50{kOneLow, kOneHigh, 0x01, 0x00, 0x02, 0x00};  // fifth bits of 0 and 17
  append(q50, 0x21, 16);
  EXPECT_EQ(block_of(DType::kQ5_0, q50)[0], 17.0f - 16.0f);
  EXPECT_EQ(block_of(DType::kQ5_0, q50)[1], 1.0f - 16.0f);
  EXPECT_EQ(block_of(DType::kQ5_0, q50)[16], 2.0f - 16.0f);
  EXPECT_EQ(block_of(DType::kQ5_0, q50)[17], 18.0f - 16.0f);

  std::vector<u8> q51{kOneLow, kOneHigh, kOneLow, kOneHigh, 0x00, 0x00, 0x00, 0x80};
  append(q51, 0x21, 16);
  EXPECT_EQ(block_of(DType::kQ5_1, q51)[15], 2.0f);
  EXPECT_EQ(block_of(DType::kQ5_1, q51)[31], 2.0f + 16.0f + 1.0f);

  std::vector<u8> iq4{kOneLow, kOneHigh};
  append(iq4, 0x0F, 16);
  EXPECT_EQ(block_of(DType::kIq4Nl, iq4)[0], 113.0f);
  EXPECT_EQ(block_of(DType::kIq4Nl, iq4)[16], -127.0f);

  std::vector<u8> mx{128};  // scale 2
  append(mx, 0xB7, 16);
  EXPECT_EQ(block_of(DType::kMxfp4, mx)[0], 12.0f);
  EXPECT_EQ(block_of(DType::kMxfp4, mx)[16], -3.0f);
}

TEST(Codec, NewerBlocks) {
  // iq4_xs: scale of sub-block 5 is 9 | 2 << 4, of all others 0; d = 1.
  std::vector<u8> xs{kOneLow, kOneHigh, 0x00, 0x08, 0, 0, 0x90, 0};
  append(xs, 0x1F, 128);
  std::vector<f32> y = block_of(DType::kIq4Xs, xs);
  EXPECT_EQ(y[160], 9.0f * 113.0f);
  EXPECT_EQ(y[176], 9.0f * -104.0f);
  EXPECT_EQ(y[0], -32.0f * 113.0f);

  // nvfp4: scales 1, 2, NaN and the least subnormal; low nibbles are a sub-block's first eight.
  std::vector<u8> nv{0x38, 0x40, 0x7F, 0x01};
  append(nv, 0xD7, 32);
  y = block_of(DType::kNvfp4, nv);
  EXPECT_EQ(y[7], 6.0f);
  EXPECT_EQ(y[8], -3.0f);
  EXPECT_EQ(y[16], 12.0f);
  EXPECT_EQ(y[32], 0.0f);
  EXPECT_EQ(y[63], -3.0f * 0x1p-9f);

  std::vector<u8> int4{0x00, 0x40, 5, 0};  // scale 2, zero 5
  append(int4, 0x9C, 16);
  y = block_of(DType::kI4G32, int4);
  EXPECT_EQ(y[0], 14.0f);
  EXPECT_EQ(y[31], 8.0f);
  append(int4, 0x0F, 48);
  y = block_of(DType::kI4G128, int4);
  EXPECT_EQ(y[1], 8.0f);
  EXPECT_EQ(y[126], 20.0f);
  EXPECT_EQ(y[127], -10.0f);

  std::vector<u8> fp8{0, 0, 0, 0x3F};  // scale 0.5
  append(append(fp8, 0xC0, 127), 0x7E, 1);
  y = block_of(DType::kFp8B128, fp8);
  EXPECT_EQ(y[0], -1.0f);
  EXPECT_EQ(y[127], 224.0f);
}

std::vector<u8> bytes_of(const std::string& hex) {
  std::vector<u8> out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<u8>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

TEST(Codec, AgreesWithAnIndependentReading) {
  std::ifstream file(TG_SOURCE_DIR "/src/isa/testdata/codec_blocks.txt");
  std::string comment, codec, hex, digest;
  std::getline(file, comment);
  std::set<std::string> seen;
  while (file >> codec >> hex >> digest) {
    DType type = dtype_by_name(codec).value();
    std::vector<u8> row = bytes_of(hex);
    std::size_t blocks = row.size() / static_cast<std::size_t>(info(type).block_bytes);
    std::vector<f32> values(blocks * static_cast<std::size_t>(info(type).block_elements));
    dequantize_row(type, row, values);
    for (f32& v : values) v += 0.0f;  // The other reading has one zero.
    std::vector<u8> bytes(values.size() * 4);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    EXPECT_EQ(to_hex(sha256(bytes)).substr(0, 32), digest) << codec << " " << hex;
    seen.insert(codec);
  }
  EXPECT_EQ(seen.size(), 19u);
}

TEST(Codec, KBlocks) {
  // q2_k: scale 3 and minimum 2 in every sub-block, codes 0b11100100: planes 0, 1, 2, 3.
  std::vector<u8> q2;
  append(append(q2, 0x23, 16), 0xE4, 64);
  q2.insert(q2.end(), {kOneLow, kOneHigh, 0x00, 0x38});  // d = 1, dmin = 0.5
  std::vector<f32> y2 = block_of(DType::kQ2K, q2);
  for (int plane = 0; plane < 4; ++plane) {
    EXPECT_EQ(y2[static_cast<std::size_t>(plane * 32)], static_cast<f32>(3 * plane) - 1.0f);
    EXPECT_EQ(y2[static_cast<std::size_t>(128 + plane * 32 + 31)],
              static_cast<f32>(3 * plane) - 1.0f);
  }

  // q3_k: high bits only of plane 0 of the first half; scale i is 32 + i.
  std::vector<u8> q3;
  append(append(q3, 0x01, 32), 0xE4, 64);
  for (int i = 0; i < 8; ++i) q3.push_back(static_cast<u8>(i | (i + 8) << 4));
  append(q3, 0xAA, 4);  // two high bits 2 for every scale: 32 + i - 32 = i
  q3.insert(q3.end(), {kOneLow, kOneHigh});
  std::vector<f32> y3 = block_of(DType::kQ3K, q3);
  EXPECT_EQ(y3[16], 1.0f * 0.0f);            // sub-block 1, plane 0, high bit set
  EXPECT_EQ(y3[32], 2.0f * (1.0f - 4.0f));   // sub-block 2, plane 1
  EXPECT_EQ(y3[128], 8.0f * (0.0f - 4.0f));  // second half, plane 0
  EXPECT_EQ(y3[255], 15.0f * (3.0f - 4.0f));

  // q4_k and q5_k: six-bit scales (the last four with their high bits elsewhere) and minima.
  std::vector<u8> scales{0xC1, 2, 3, 4, 0xFF, 0xFF, 0xFF, 0xFF, 0xF5, 0xF6, 0xF7, 0xF8};
  std::vector<u8> q4{kOneLow, kOneHigh, kOneLow, kOneHigh};
  q4.insert(q4.end(), scales.begin(), scales.end());
  append(q4, 0x21, 128);
  std::vector<f32> y4 = block_of(DType::kQ4K, q4);
  EXPECT_EQ(y4[0], 1.0f * 1.0f - 63.0f);
  EXPECT_EQ(y4[32], 2.0f * 2.0f - 63.0f);
  // Sub-block 4: scale 5 with 3 << 4 from byte 0, minimum 15 with 3 << 4 from byte 4.
  EXPECT_EQ(y4[128], 53.0f * 1.0f - 63.0f);

  std::vector<u8> q5{kOneLow, kOneHigh, kOneLow, kOneHigh};
  q5.insert(q5.end(), scales.begin(), scales.end());
  append(append(q5, 0x02, 32), 0x21, 128);  // fifth bit in sub-block 1 only
  std::vector<f32> y5 = block_of(DType::kQ5K, q5);
  EXPECT_EQ(y5[0], 1.0f * 1.0f - 63.0f);
  EXPECT_EQ(y5[32], 2.0f * 18.0f - 63.0f);

  // q6_k: low nibbles 1 and 2, high bits 0b11100100 by group, scale i is i - 8.
  std::vector<u8> q6;
  append(append(q6, 0x21, 128), 0xE4, 64);
  for (int i = 0; i < 16; ++i) q6.push_back(static_cast<u8>(i - 8));
  q6.insert(q6.end(), {kOneLow, kOneHigh});
  std::vector<f32> y6 = block_of(DType::kQ6K, q6);
  EXPECT_EQ(y6[0], -8.0f * (1.0f - 32.0f));
  EXPECT_EQ(y6[32], -6.0f * (17.0f - 32.0f));
  EXPECT_EQ(y6[64], -4.0f * (34.0f - 32.0f));
  EXPECT_EQ(y6[96 + 31], -1.0f * (50.0f - 32.0f));
  EXPECT_EQ(y6[255], 7.0f * (50.0f - 32.0f));
}

struct EncoderCase {
  DType codec;
  f32 error;  // of the block's largest magnitude
};

TEST(Codec, EncodersStayWithinTheirStep) {
  const EncoderCase cases[] = {
      {DType::kF32, 0.0f},     {DType::kF16, 5e-4f},   {DType::kBf16, 4e-3f},
      {DType::kE4m3, 0.063f},  {DType::kE5m2, 0.126f}, {DType::kQ8_0, 0.0045f},
      {DType::kQ4_0, 0.13f},   {DType::kQ4_1, 0.07f},  {DType::kQ5_0, 0.065f},
      {DType::kQ5_1, 0.035f},  {DType::kQ2K, 0.4f},    {DType::kQ3K, 0.28f},
      {DType::kQ4K, 0.09f},    {DType::kQ5K, 0.06f},   {DType::kQ6K, 0.025f},
      {DType::kIq4Nl, 0.12f},  {DType::kIq4Xs, 0.16f}, {DType::kMxfp4, 0.26f},
      {DType::kNvfp4, 0.19f},  {DType::kI4G32, 0.11f}, {DType::kI4G128, 0.11f},
      {DType::kFp8B128, 0.04f}};
  EXPECT_EQ(std::size(cases), 22u);
  std::mt19937 random(11);
  std::normal_distribution<f32> normal;
  for (const EncoderCase& c : cases) {
    ASSERT_TRUE(can_quantize(c.codec));
    for (int round = 0; round < 50; ++round) {
      std::vector<f32> in(256);
      for (f32& v : in) v = normal(random);
      std::vector<u8> row(static_cast<std::size_t>(row_bytes(c.codec, 256)));
      quantize_row(c.codec, in, row);
      std::vector<f32> out(256);
      dequantize_row(c.codec, row, out);
      f32 largest = 0;
      for (f32 v : in) largest = std::max(largest, std::fabs(v));
      for (std::size_t i = 0; i < in.size(); ++i)
        EXPECT_LE(std::fabs(in[i] - out[i]), c.error * largest) << info(c.codec).name << " " << i;
    }
  }
}

TEST(Codec, ZeroRowsStayZero) {
  for (u8 i = 0; i < static_cast<u8>(DType::kCount); ++i) {
    DType codec = static_cast<DType>(i);
    EXPECT_EQ(can_quantize(codec), can_dequantize(codec));
    if (!can_quantize(codec)) continue;
    std::vector<f32> zeros(256);
    std::vector<u8> row(static_cast<std::size_t>(row_bytes(codec, 256)));
    quantize_row(codec, zeros, row);
    std::vector<f32> out(256, 1.0f);
    dequantize_row(codec, row, out);
    EXPECT_EQ(out, zeros) << info(codec).name;
  }
}

TEST(Codec, WhatAWeightMayBe) {
  i64 codecs = 0;
  for (u8 i = 0; i < static_cast<u8>(DType::kCount); ++i) {
    codecs += is_weight_codec(static_cast<DType>(i));
  }
  EXPECT_EQ(codecs, 20);
  EXPECT_TRUE(is_weight_codec(DType::kNvfp4) && can_quantize(DType::kE4m3));
  EXPECT_FALSE(is_weight_codec(DType::kE4m3) || is_weight_codec(DType::kI8));
}

}  // namespace
}  // namespace tg::isa
