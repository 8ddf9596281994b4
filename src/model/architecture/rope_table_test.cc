// Every scaling of rope against its published definition.
#include "model/architecture/rope_table.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/bytes.h"
#include "model/architecture/import_testing.h"

namespace tg::model {
namespace {

RopeTable table_of(const gguf::Header& header) {
  return shape_of(header).rope;
}

TEST(Rope, PlainFrequencies) {
  RopeTable table = table_of(header_of("tiny"));
  ASSERT_EQ(table.inverse_frequencies.size(), 16u);
  EXPECT_EQ(table.inverse_frequencies[0], 1.0f);
  EXPECT_EQ(table.inverse_frequencies[8], 0.01f);
  EXPECT_EQ(table.magnitude, 1.0f);
}

TEST(Rope, LinearScalingDividesAll) {
  gguf::Header header = header_of("tiny");
  header.set("llama.rope.scaling.type", std::string("linear"));
  header.set("llama.rope.scaling.factor", 4.0f);
  RopeTable table = table_of(header);
  EXPECT_EQ(table.inverse_frequencies[0], 0.25f);
  EXPECT_EQ(table.inverse_frequencies[8], 0.0025f);
}

// The definition of the Llama 3.1 release: wavelengths below 8192/4 stay, above 8192/1 grow by 8.
TEST(Rope, BandedScalingKeepsShortAndStretchesLong) {
  RopeTable table = table_of(header_of("llama-3.1-8b"));
  ASSERT_EQ(table.inverse_frequencies.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) {
    f64 plain = std::pow(500'000.0, -static_cast<f64>(i) / 64);
    f64 wavelength = 2 * M_PI / plain;
    f64 ratio = static_cast<f64>(table.inverse_frequencies[i]) / plain;
    if (wavelength < 2'048) {
      EXPECT_NEAR(ratio, 1, 1e-6) << i;
    } else if (wavelength > 8'192) {
      EXPECT_NEAR(ratio, 0.125, 1e-6) << i;
    } else {
      f64 smooth = (8'192 / wavelength - 1) / 3;
      EXPECT_NEAR(ratio, (1 - smooth) / 8 + smooth, 1e-6) << i;
    }
  }
}

TEST(Rope, YarnInterpolatesByPartsAndRaisesTheMagnitude) {
  gguf::Header header = header_of("llama-2-7b");
  header.set("llama.rope.scaling.type", std::string("yarn"));
  header.set("llama.rope.scaling.factor", 16.0f);
  header.set("llama.rope.scaling.original_context_length", u32{4'096});
  RopeTable table = table_of(header);
  EXPECT_NEAR(table.magnitude, 0.1 * std::log(16.0) + 1, 1e-6);
  // Pairs that turn more than 32 times in 4096 positions (the first 20) stay; those that turn less
  // than once (from pair 46 on) are interpolated.
  for (std::size_t i = 0; i < 64; ++i) {
    f64 plain = std::pow(10'000.0, -static_cast<f64>(i) / 64);
    f64 ratio = static_cast<f64>(table.inverse_frequencies[i]) / plain;
    f64 stretched = std::clamp((static_cast<f64>(i) - 20) / 26, 0.0, 1.0);
    EXPECT_NEAR(ratio, 1 - stretched * 15 / 16, 1e-6) << i;
  }
  std::string text = text_of(header);
  EXPECT_NE(text.find("rot=128 mscale=1.2772589}"), std::string::npos) << text;
  header.set("llama.rope.scaling.yarn_log_multiplier", 1.0f);
  EXPECT_EQ(table_of(header).magnitude, 1.0f);
}

TEST(Rope, DivisorTensorsEqualTheStatedScaling) {
  SynthShape shape = find_synth_shape("tiny").value();
  shape.rope_base = 500'000;
  shape.has_banded_rope = true;
  Parsed stated(synth_header(shape, "q8_0", true).value());
  gguf::Header header = synth_header(shape, "q8_0", false).value();
  ASSERT_EQ(header.tensors.back().name, "rope_freqs.weight");
  std::vector<u8> bytes = gguf::encode_header(header).value();
  for (const gguf::TensorDecl& tensor : header.tensors) {
    if (tensor.name == "rope_freqs.weight") {
      for (f32 divisor : banded_divisors({}, 500'000, 32))
        append_u32(bytes, std::bit_cast<u32>(divisor));
    } else {
      bytes.resize((bytes.size() + gguf::tensor_bytes(tensor).value() + 31) / 32 * 32);
    }
  }
  gguf::File file = gguf::File::parse(bytes).value();
  EXPECT_EQ(import_program(file, {}).value().program.id(),
            import_program(stated.file, {}).value().program.id());
  // A divisor of zero is refused.
  std::fill(bytes.end() - 64, bytes.end(), u8{0});
  EXPECT_EQ(import_program(gguf::File::parse(bytes).value(), {}).error().message,
            "gguf: tensor rope_freqs.weight holds 0 at 0");
}

TEST(Rope, DivisorTensorWithoutDataIsRefused) {
  gguf::Header header = header_of("tiny");
  header.tensors.push_back({"rope_freqs.weight", isa::DType::kF32, {16}});
  EXPECT_EQ(import_error(header),
            "gguf: tensor rope_freqs.weight is needed for the program, but the file holds no data");
  header.tensors.back().dims = {15};
  EXPECT_EQ(import_error(header), "gguf: tensor rope_freqs.weight is f32[15], expected f32[16]");
}

// gpt-oss: the ramp is between fractional pairs, 8.09 and 17.40 of 32 for its numbers.
TEST(Rope, YarnOfGptOssIsNotCutToWholePairs) {
  RopeTable table = table_of(header_of("gpt-oss-20b", "mxfp4"));
  EXPECT_NEAR(table.magnitude, 0.1 * std::log(32.0) + 1, 1e-6);
  ASSERT_EQ(table.inverse_frequencies.size(), 32u);
  f64 low = 32 * std::log(4'096 / (32 * 2 * M_PI)) / std::log(150'000.0);
  f64 high = 32 * std::log(4'096 / (2 * M_PI)) / std::log(150'000.0);
  for (std::size_t i = 0; i < 32; ++i) {
    f64 plain = std::pow(150'000.0, -static_cast<f64>(i) / 32);
    f64 ratio = static_cast<f64>(table.inverse_frequencies[i]) / plain;
    f64 stretched = std::clamp((static_cast<f64>(i) - low) / (high - low), 0.0, 1.0);
    EXPECT_NEAR(ratio, 1 - stretched * 31 / 32, 1e-6) << i;
  }
}

// DeepSeek-V3: the magnitude goes into the scores, squared, with mscale_all_dim = 1.
TEST(Rope, YarnOfDeepSeekScalesTheScores) {
  DecoderShape shape = shape_of(header_of("deepseek-v3"));
  f64 mscale = 0.1 * std::log(40.0) + 1;
  EXPECT_EQ(shape.rope.magnitude, 1.0f);
  EXPECT_NEAR(shape.attention_scale, mscale * mscale / std::sqrt(192.0), 1e-7);
}

TEST(Rope, GemmaThreeHasATableForWindowedLayers) {
  DecoderShape shape = shape_of(header_of("gemma-3-12b"));
  ASSERT_TRUE(shape.local_rope.has_value());
  EXPECT_EQ(shape.local_rope->inverse_frequencies[0], 1.0f);
  EXPECT_EQ(shape.rope.inverse_frequencies[0], 0.125f);
  EXPECT_NEAR(shape.local_rope->inverse_frequencies[64], 0.01, 1e-9);
  EXPECT_NEAR(shape.rope.inverse_frequencies[64], 0.001 / 8, 1e-10);
}

// The bytes of tiny-phi3 with divisors 2 in the long list and 4 in the short one.
std::vector<u8> longrope_file() {
  gguf::Header header = synth_header(find_synth_shape("tiny-phi3").value(), "f16", false).value();
  std::vector<u8> bytes = gguf::encode_header(header).value();
  for (const gguf::TensorDecl& tensor : header.tensors) {
    u64 size = gguf::tensor_bytes(tensor).value();
    if (!tensor.name.starts_with("rope_")) {
      bytes.resize((bytes.size() + size + 31) / 32 * 32);
      continue;
    }
    f32 divisor = tensor.name == kLongDivisors ? 2.0f : 4.0f;
    for (u64 i = 0; i < size / 4; ++i) append_u32(bytes, std::bit_cast<u32>(divisor));
    bytes.resize((bytes.size() + 31) / 32 * 32);
  }
  return bytes;
}

TEST(Rope, TheBoundOfContextPicksLongRopesList) {
  std::vector<u8> bytes = longrope_file();
  gguf::File file = gguf::File::parse(bytes).value();
  DecoderTraits traits = find_architecture("phi3").value();
  ImportOptions short_context;
  short_context.bounds.context = 64;
  EXPECT_EQ(read_shape(file, traits).value().rope.inverse_frequencies[0], 0.5f);
  EXPECT_EQ(read_shape(file, traits, short_context).value().rope.inverse_frequencies[0], 0.25f);
  // Stretched from 64 to 256 tokens.
  EXPECT_NEAR(read_shape(file, traits).value().rope.magnitude,
              std::sqrt(1 + std::log(4.0) / std::log(64.0)), 1e-6);
}

}  // namespace
}  // namespace tg::model
