// Decoders in the builder's form against the same weights through a GGUF file, bit by bit.
#include <gtest/gtest.h>

#include "isa/disassemble.h"
#include "model/onnx/import.h"
#include "model/onnx/testing/routes.h"

namespace tg::model {
namespace {

using onnx::testing::GenaiGraph;
using onnx::testing::gguf_logits;
using onnx::testing::logits_of;
using onnx::testing::TinyDecoder;

struct Case {
  const char* name;
  TinyDecoder decoder;
  const char* codec;  // of the first layer's output product
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

class Decoders : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    Genai, Decoders,
    testing::Values(
        Case{"llama", {}, "f32"}, Case{"llama_f16", {.is_f16 = true}, "f16"},
        Case{"qwen2", {.has_bias = true}, "f32"}, Case{"qwen3", {.has_qk_norm = true}, "f32"},
        Case{"mistral", {.window = 5}, "f32"}, Case{"phi3", {.is_packed = true}, "f32"},
        Case{"phi3_bias", {.has_bias = true, .is_packed = true}, "f32"},
        Case{"separate_rope", {.has_separate_rope = true}, "f32"},
        Case{"tied", {.is_tied = true}, "f32"}, Case{"int4_g32", {.bits = 4}, "int4_g32"},
        Case{"int4_g32_zeros", {.bits = 4, .has_zeros = true}, "int4_g32"},
        Case{"int4_block64",
             {.width = 128, .head = 32, .ffn = 192, .bits = 4, .block = 64, .has_zeros = true},
             "int4_g32"},
        Case{"int4_g128",
             {.width = 128, .head = 32, .ffn = 256, .bits = 4, .block = 128, .has_zeros = true},
             "int4_g128"},
        Case{"int4_ragged", {.bits = 4, .block = 64, .has_zeros = true}, "int4_g32"},
        Case{"int4_block16", {.bits = 4, .block = 16}, "f32"},
        Case{"int4_f32_scales", {.bits = 4, .has_zeros = true, .has_f16_scales = false}, "f32"},
        Case{"int4_tied", {.is_tied = true, .bits = 4}, "int4_g32"},
        Case{"int4_packed", {.is_packed = true, .bits = 4}, "int4_g32"},
        Case{"int8", {.bits = 8}, "q8_0"},
        Case{"int8_block128",
             {.width = 128, .head = 32, .ffn = 256, .bits = 8, .block = 128},
             "q8_0"},
        Case{"int8_zeros", {.bits = 8, .has_zeros = true}, "q8_0"}),
    [](const testing::TestParamInfo<Case>& c) { return std::string(c.param.name); });

TEST_P(Decoders, ComputeWhatTheSameWeightsDoInGguf) {
  const Case& c = GetParam();
  GenaiGraph graph(c.decoder);
  std::vector<u8> bytes = graph.model.encode();
  Result<OnnxModel> model = import_onnx({.model = bytes, .external = {}}, {.exact = true});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->vocabulary, c.decoder.vocabulary);
  EXPECT_EQ(model->context, c.decoder.positions);
  std::vector<f64> logits = logits_of(model->program, model->weights());
  std::vector<f64> expected = gguf_logits(c.decoder, graph.weights);
  ASSERT_EQ(logits.size(), expected.size());
  EXPECT_EQ(logits, expected) << isa::disassemble(model->program.program());
  for (const OnnxBinding& binding : model->bindings)
    if (binding.symbol == "attn_o_proj") {
      EXPECT_EQ(isa::info(binding.tensors[0].codec).name, c.codec);
    }
  // Otherwise matrices of small integers round what they are multiplied with.
  Result<OnnxModel> rounded = import_onnx({.model = bytes, .external = {}}, {});
  ASSERT_TRUE(rounded.ok()) << rounded.error().message;
  bool rounds = isa::disassemble(rounded->program.program()).find("xq=i8/32") != std::string::npos;
  EXPECT_EQ(rounds, !std::string_view(c.codec).starts_with("f"));
  // A stack of equal layers is one loop.
  EXPECT_LE(model->program.bytes().size(), 2'048u);
}

}  // namespace
}  // namespace tg::model
