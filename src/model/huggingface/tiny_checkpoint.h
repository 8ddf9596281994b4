// Tiny checkpoints with random weights for tests: a config.json, tensors under their Hugging Face
// names, and the same numbers as a GGUF file would hold them.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "env/random.h"
#include "isa/codec.h"
#include "model/gguf/writer.h"
#include "model/safetensors/writer.h"

namespace tg::checkpoint {

// A directory that is gone when the test is.
class TestDirectory {
 public:
  explicit TestDirectory(const std::string& name)
      : path_(testing::TempDir() + "tg_huggingface_" + name) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void put(const std::string& file, std::span<const u8> bytes) const {
    // Not durably: a test writes hundreds of files.
    std::ofstream out(path_ + "/" + file, std::ios::binary);
    out << as_text(bytes);
    ASSERT_TRUE(out.flush().good());
  }

 private:
  std::string path_;
};

inline constexpr i64 kWidth = 128, kHeads = 4, kKvHeads = 2, kHeadDim = 32, kFfn = 256;
inline constexpr i64 kVocabulary = 40, kLayers = 2;

struct TinyCheckpoint {
  nlohmann::json config;
  std::vector<safetensors::NewTensor> tensors;

  safetensors::NewTensor* find(std::string_view name) {
    for (safetensors::NewTensor& tensor : tensors)
      if (tensor.name == name) return &tensor;
    return nullptr;
  }
  void save(const TestDirectory& directory) const {
    directory.put("config.json", as_bytes(config.dump()));
    directory.put("model.safetensors", safetensors::encode(tensors));
  }
};

inline std::vector<u8> float_bytes(safetensors::DType dtype, const std::vector<f32>& values) {
  std::vector<u8> out;
  for (f32 value : values) {
    if (dtype == safetensors::DType::kF32) append_u32(out, std::bit_cast<u32>(value));
    if (dtype == safetensors::DType::kF16) append_u16(out, isa::f16_from_f32(value));
    if (dtype == safetensors::DType::kBf16) append_u16(out, isa::bf16_from_f32(value));
  }
  return out;
}

// Adds tensors of random floats around `mean`, one stream for all.
class TensorMaker {
 public:
  TensorMaker(TinyCheckpoint& out, safetensors::DType dtype) : out_(out), dtype_(dtype) {}
  void operator()(std::string name, std::vector<i64> dims, f32 mean = 0) {
    i64 count = 1;
    for (i64 dim : dims) count *= dim;
    std::vector<f32> values;
    for (i64 i = 0; i < count; ++i)
      values.push_back(mean + static_cast<f32>(random_.uniform() - 0.5) / 4);
    out_.tensors.push_back({std::move(name), dtype_, std::move(dims), float_bytes(dtype_, values)});
  }

 private:
  TinyCheckpoint& out_;
  safetensors::DType dtype_;
  SeededRandom random_{11};
};

// `architecture`: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM or Qwen3ForCausalLM.
inline TinyCheckpoint tiny_checkpoint(const std::string& architecture, safetensors::DType dtype) {
  TinyCheckpoint out;
  out.config = {{"architectures", {architecture}},
                {"hidden_act", "silu"},
                {"hidden_size", kWidth},
                {"intermediate_size", kFfn},
                {"max_position_embeddings", 512},
                {"num_attention_heads", kHeads},
                {"num_hidden_layers", kLayers},
                {"num_key_value_heads", kKvHeads},
                {"rms_norm_eps", 1e-6},
                {"rope_scaling", nullptr},
                {"rope_theta", 10'000.0},
                {"tie_word_embeddings", false},
                {"vocab_size", kVocabulary}};
  bool is_qwen3 = architecture == "Qwen3ForCausalLM";
  if (is_qwen3) out.config["head_dim"] = kHeadDim;
  TensorMaker make(out, dtype);
  make("model.embed_tokens.weight", {kVocabulary, kWidth});
  for (i64 layer = 0; layer < kLayers; ++layer) {
    std::string prefix = "model.layers." + std::to_string(layer) + ".";
    make(prefix + "input_layernorm.weight", {kWidth}, 1);
    make(prefix + "self_attn.q_proj.weight", {kHeads * kHeadDim, kWidth});
    make(prefix + "self_attn.k_proj.weight", {kKvHeads * kHeadDim, kWidth});
    make(prefix + "self_attn.v_proj.weight", {kKvHeads * kHeadDim, kWidth});
    make(prefix + "self_attn.o_proj.weight", {kWidth, kHeads * kHeadDim});
    if (architecture == "Qwen2ForCausalLM") {
      make(prefix + "self_attn.q_proj.bias", {kHeads * kHeadDim});
      make(prefix + "self_attn.k_proj.bias", {kKvHeads * kHeadDim});
      make(prefix + "self_attn.v_proj.bias", {kKvHeads * kHeadDim});
    }
    if (is_qwen3) make(prefix + "self_attn.q_norm.weight", {kHeadDim}, 1);
    if (is_qwen3) make(prefix + "self_attn.k_norm.weight", {kHeadDim}, 1);
    make(prefix + "post_attention_layernorm.weight", {kWidth}, 1);
    make(prefix + "mlp.gate_proj.weight", {kFfn, kWidth});
    make(prefix + "mlp.up_proj.weight", {kFfn, kWidth});
    make(prefix + "mlp.down_proj.weight", {kWidth, kFfn});
  }
  make("model.norm.weight", {kWidth}, 1);
  make("lm_head.weight", {kVocabulary, kWidth});
  return out;
}

}  // namespace tg::checkpoint
