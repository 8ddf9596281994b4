// Codecs: 16-bit floats over all bit patterns, dequantisation against layouts written out by hand,
// encoders against the error their step allows.
#include "isa/codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

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
      {DType::kF32, 0.0f},   {DType::kF16, 5e-4f}, {DType::kBf16, 4e-3f}, {DType::kQ8_0, 0.0045f},
      {DType::kQ4_0, 0.13f}, {DType::kQ4K, 0.09f}, {DType::kQ6K, 0.025f}};
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
  for (DType codec : {DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4K, DType::kQ6K}) {
    std::vector<f32> zeros(256);
    std::vector<u8> row(static_cast<std::size_t>(row_bytes(codec, 256)));
    quantize_row(codec, zeros, row);
    std::vector<f32> out(256, 1.0f);
    dequantize_row(codec, row, out);
    EXPECT_EQ(out, zeros) << info(codec).name;
  }
}

}  // namespace
}  // namespace tg::isa
