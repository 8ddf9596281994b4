#include "model/huggingface/outline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "model/architecture/encoder.h"
#include "model/architecture/layer_roles.h"
#include "model/architecture/shape.h"
#include "model/gguf/reader.h"

namespace tg::checkpoint {
namespace {

using isa::DType;
using model::Need;
using model::Role;

constexpr std::string_view kHead = "output.weight";
constexpr std::string_view kEmbedding = "token_embd.weight";
constexpr std::string_view kTypes = "token_types.weight";

// What quantization_config does to the matrices of layers, and to those of experts.
struct Codecs {
  DType plain = DType::kBf16;
  std::optional<DType> layers;
  std::optional<DType> experts;
};

Result<DType> plain_type(const Config& config) {
  std::string_view key = config.has("dtype") ? "dtype" : "torch_dtype";
  TG_ASSIGN(std::string name, config.text_or(key, "bfloat16"));
  constexpr auto kTypesKnown = std::to_array<std::pair<std::string_view, DType>>(
      {{"bfloat16", DType::kBf16}, {"float16", DType::kF16}, {"float32", DType::kF32}});
  for (const std::pair<std::string_view, DType>& type : kTypesKnown)
    if (type.first == name) return type.second;
  return config.unsupported(key);
}

Result<DType> int4_codec(const Config& stated) {
  TG_ASSIGN(i64 group, stated.integer_or("group_size", 1, 128));
  TG_ASSIGN(i64 bits, stated.integer_or("bits", 1, 4));
  if (bits != 4) return stated.unsupported("bits");
  if (group % 128 == 0) return DType::kI4G128;
  if (group % 32 == 0) return DType::kI4G32;
  return stated.unsupported("group_size");
}

Result<Codecs> read_codecs(const Config& config) {
  Codecs codecs;
  TG_ASSIGN(codecs.plain, plain_type(config));
  if (!config.has("quantization_config")) return codecs;
  TG_ASSIGN(Config stated, config.object("quantization_config"));
  TG_ASSIGN(std::string method, stated.text("quant_method"));
  if (method == "fp8") {
    codecs.layers = codecs.experts = DType::kFp8B128;
  } else if (method == "mxfp4") {
    codecs.experts = DType::kMxfp4;
  } else if (method == "awq" || method == "gptq") {
    TG_ASSIGN(DType codec, int4_codec(stated));
    codecs.layers = codecs.experts = codec;
  } else {
    return stated.unsupported("quant_method");
  }
  return codecs;
}

// Optional tensors that the configuration says are there.
Result<bool> is_stated(const Config& config, const Family& family, std::size_t role) {
  bool is_bias = role == Role::kBq || role == Role::kBk || role == Role::kBv || role == Role::kBqkv;
  if (is_bias || role == Role::kBo) {
    TG_ASSIGN(bool has_bias, config.boolean_or("attention_bias", false));
    // Llama's flag covers the output projection, GLM's and Qwen's do not.
    return has_bias && (is_bias || family.gguf == "llama");
  }
  if (role == Role::kSelect) {
    TG_ASSIGN(std::string method, config.text_or("topk_method", "greedy"));
    return method == "noaux_tc" || family.architecture == "DeepseekV3ForCausalLM";
  }
  return false;
}

class Outline {
 public:
  explicit Outline(const Codecs& codecs) : codecs_(codecs) {}

  void add(i64 layer, std::string_view tensor, std::vector<i64> dims) {
    std::string name = layer < 0 ? std::string(tensor) : fmt::format("blk.{}.{}", layer, tensor);
    DType codec = codec_of(layer, tensor, dims);
    out_.push_back({std::move(name), codec, std::move(dims)});
  }
  std::vector<gguf::TensorDecl> take() { return std::move(out_); }

 private:
  DType codec_of(i64 layer, std::string_view tensor, const std::vector<i64>& dims) const {
    if (dims.size() < 2 || !tensor.ends_with(".weight") || tensor.starts_with("ffn_gate_inp") ||
        tensor == kTypes || tensor.starts_with("position_embd"))
      return DType::kF32;
    if (layer < 0) return codecs_.plain;
    bool is_expert = dims.size() == 3 && tensor.starts_with("ffn_");
    DType codec = (is_expert ? codecs_.experts : codecs_.layers).value_or(codecs_.plain);
    return dims.back() % isa::info(codec).block_elements == 0 ? codec : codecs_.plain;
  }

  const Codecs& codecs_;
  std::vector<gguf::TensorDecl> out_;
};

Status add_decoder(const Config& config, const Family& family, const model::DecoderTraits& traits,
                   const gguf::File& file, Outline& out) {
  TG_ASSIGN(model::DecoderShape shape, model::read_shape(file, traits));
  for (i64 layer = 0; layer < shape.layers; ++layer) {
    std::array<model::RoleInfo, model::kRoles> roles = model::layer_roles(shape, traits, layer);
    for (std::size_t role = 0; role < roles.size(); ++role) {
      bool is_there = roles[role].need == Need::kRequired;
      if (roles[role].need == Need::kOptional) {
        TG_ASSIGN(is_there, is_stated(config, family, role));
      }
      if (is_there) out.add(layer, roles[role].tensor, roles[role].dims);
    }
  }
  out.add(-1, "output_norm.weight", {shape.width});
  // Gemma's configurations leave out that they share the embedding.
  TG_ASSIGN(bool is_tied,
            config.boolean_or("tie_word_embeddings", family.gguf.starts_with("gemma")));
  if (!is_tied) out.add(-1, kHead, {shape.vocabulary, shape.width});
  return {};
}

Status add_encoder(const model::DecoderTraits& traits, const gguf::File& file, Outline& out) {
  TG_ASSIGN(model::EncoderShape shape, model::read_encoder_shape(file, traits));
  for (const model::EncoderTensor& global : model::encoder_globals(shape))
    if (global.tensor != kEmbedding) out.add(-1, global.tensor, global.dims);
  for (i64 layer = 0; layer < shape.layers; ++layer)
    for (const model::EncoderTensor& part : model::encoder_layer(shape))
      out.add(layer, part.tensor, part.dims);
  return {};
}

}  // namespace

Result<std::vector<gguf::TensorDecl>> outline(const Config& config, const Family& family,
                                              const Metadata& metadata) {
  TG_ASSIGN(Codecs codecs, read_codecs(config));
  TG_ASSIGN(model::DecoderTraits traits, model::find_architecture(family.gguf));
  TG_ASSIGN(i64 vocabulary, config.integer("vocab_size", 1));
  TG_ASSIGN(i64 width, config.integer("hidden_size", 1));
  Outline out(codecs);
  out.add(-1, kEmbedding, {vocabulary, width});
  // The keys read back, as the importer will, say which tensors it asks for.
  gguf::Header keys = metadata.header;
  keys.set(gguf::kNoDataKey, true);
  TG_ASSIGN(std::vector<u8> bytes, gguf::encode_header(keys));
  std::vector<gguf::Tensor> known;
  known.push_back({.name = kEmbedding, .codec = codecs.plain, .dims = {vocabulary, width}});
  if (traits.stack == model::Stack::kEncoder) {
    TG_ASSIGN(i64 types, config.integer_or("type_vocab_size", 1, 2));
    known.push_back({.name = kTypes, .codec = DType::kF32, .dims = {types, width}});
  }
  for (const std::pair<std::string, std::vector<f32>>& table : metadata.tables)
    known.push_back({.name = table.first,
                     .codec = DType::kF32,
                     .dims = {static_cast<i64>(table.second.size())},
                     .data = {reinterpret_cast<const u8*>(table.second.data()),
                              table.second.size() * sizeof(f32)}});
  TG_ASSIGN(gguf::File parsed, gguf::File::parse(bytes));
  TG_ASSIGN(gguf::File file, gguf::File::with_tensors(std::move(parsed), std::move(known)));
  if (traits.stack == model::Stack::kEncoder) {
    TG_TRY(add_encoder(traits, file, out));
  } else {
    TG_TRY(add_decoder(config, family, traits, file, out));
  }
  return out.take();
}

}  // namespace tg::checkpoint
