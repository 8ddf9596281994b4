// For tests: a decoder's logits by the reference interpreter, from an ONNX import and from a GGUF
// file of the same weights.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "isa/reference/interpreter.h"
#include "isa/reference/test_model.h"
#include "model/import.h"
#include "model/onnx/testing/genai_graph.h"
#include "model/synth.h"

namespace tg::onnx::testing {

// Logits of every token, fed in pieces.
inline std::vector<f64> logits_of(const isa::VerifiedProgram& program,
                                  const isa::WeightTable& weights) {
  Result<isa::Interpreter> made =
      isa::Interpreter::make(program, weights, isa::Precision::kGolden, 8);
  EXPECT_TRUE(made.ok()) << made.error().message;
  isa::TestSequence sequence{{3, 1, 0, 2}, 0};
  std::vector<i32> ids = {5, 17, 2, 79, 41, 8, 8, 30, 66, 1, 12, 55, 23, 0, 9, 77, 31};
  std::vector<f64> out;
  for (std::size_t first = 0; first < ids.size(); first += 6) {
    isa::TestBatch batch;
    std::span<const i32> piece = std::span<const i32>(ids).subspan(first);
    piece = piece.subspan(0, std::min<std::size_t>(6, piece.size()));
    batch.add(sequence, piece, 16, false);
    for (i32 t = 0; t < static_cast<i32>(piece.size()); ++t) batch.rows.push_back(t);
    Result<std::vector<isa::Tensor>> results = made->run(batch.view());
    EXPECT_TRUE(results.ok()) << results.error().message;
    if (results.ok()) out.insert(out.end(), (*results)[0].data.begin(), (*results)[0].data.end());
  }
  return out;
}

// The weights of a GenAI graph by the name of a GGUF tensor.
inline std::string genai_name(const std::string& tensor) {
  static const std::map<std::string, std::string> kNames = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output_norm.weight", "model.layers.2.final_norm_layernorm.weight"},
      {"output.weight", "lm_head"},
      {"attn_norm.weight", "input_layernorm.weight"},
      {"attn_q.weight", "attn.q_proj"},
      {"attn_k.weight", "attn.k_proj"},
      {"attn_v.weight", "attn.v_proj"},
      {"attn_q.bias", "attn.q_proj.Add.bias"},
      {"attn_k.bias", "attn.k_proj.Add.bias"},
      {"attn_v.bias", "attn.v_proj.Add.bias"},
      {"attn_q_norm.weight", "attn.q_norm.layernorm.weight"},
      {"attn_k_norm.weight", "attn.k_norm.layernorm.weight"},
      {"attn_output.weight", "attn.o_proj"},
      {"ffn_norm.weight", "post_attention_layernorm.weight"},
      {"ffn_gate.weight", "mlp.gate_proj"},
      {"ffn_up.weight", "mlp.up_proj"},
      {"ffn_down.weight", "mlp.down_proj"}};
  if (!tensor.starts_with("blk.")) return kNames.at(tensor);
  return "model.layers." + tensor.substr(4, 2) + kNames.at(tensor.substr(6));
}

// Synthetic shapes need room for 256 bytes; the vocabulary is cut to size afterwards.
inline constexpr i64 kSynthVocabulary = 300;

// The same decoder as a GGUF file of f32 weights.
inline std::vector<u8> gguf_file(const TinyDecoder& d, const Weights& weights) {
  model::SynthShape shape{.name = "same",
                          .architecture = d.has_qk_norm ? "qwen3" : "qwen2",
                          .layers = d.layers,
                          .width = d.width,
                          .heads = d.heads,
                          .kv_heads = d.kv_heads,
                          .head_dim = d.head,
                          .ffn = d.ffn,
                          .vocabulary = kSynthVocabulary,
                          .context = d.positions,
                          .window = std::max<i64>(d.window, 0),
                          .is_tied = d.is_tied};
  gguf::Header header = model::synth_header(shape, "f32", false).value();
  header.set(std::string(shape.architecture) + ".vocab_size", static_cast<u32>(d.vocabulary));
  for (gguf::TensorDecl& tensor : header.tensors)
    if (tensor.dims[0] == kSynthVocabulary) tensor.dims[0] = d.vocabulary;
  std::erase_if(header.tensors,
                [](const gguf::TensorDecl& tensor) { return tensor.name.ends_with(".bias"); });
  for (i64 layer = 0; layer < d.layers && !d.has_qk_norm; ++layer) {
    for (std::string_view part : {"q", "k", "v"}) {
      i64 heads = part == "q" ? d.heads : d.kv_heads;
      header.tensors.push_back(
          {fmt::format("blk.{}.attn_{}.bias", layer, part), isa::DType::kF32, {heads * d.head}});
    }
  }
  std::vector<u8> bytes = gguf::encode_header(header).value();
  for (const gguf::TensorDecl& tensor : header.tensors) {
    // Qwen 2 needs biases; those of a decoder without are zeros.
    bool is_absent = tensor.name.ends_with(".bias") && !d.has_bias;
    std::vector<f32> values(is_absent ? static_cast<std::size_t>(tensor.dims[0]) : 0);
    if (!is_absent) values = weights.at(genai_name(tensor.name));
    EXPECT_EQ(values.size() * 4, gguf::tensor_bytes(tensor).value()) << tensor.name;
    for (f32 value : values) append_u32(bytes, std::bit_cast<u32>(value));
    bytes.resize((bytes.size() + 31) / 32 * 32);
  }
  return bytes;
}

inline std::vector<f64> gguf_logits(const TinyDecoder& d, const Weights& weights) {
  std::vector<u8> bytes = gguf_file(d, weights);
  Result<gguf::File> file = gguf::File::parse(bytes);
  EXPECT_TRUE(file.ok()) << file.error().message;
  Result<model::Imported> read = model::import_program(*file, {});
  EXPECT_TRUE(read.ok()) << read.error().message;
  const model::Imported& imported = *read;
  isa::WeightTable table;
  for (const model::Binding& binding : imported.bindings) {
    std::vector<std::span<const u8>>& layers = table.by_symbol.emplace_back();
    for (const gguf::Tensor* tensor : binding.tensors) layers.push_back(tensor->data);
  }
  return logits_of(imported.program, table);
}

}  // namespace tg::onnx::testing
