// A header from a shape: keys, vocabulary, then the tensors that the importer's own tables ask for,
// so that what is written is what is read.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/architecture/architectures.h"
#include "model/architecture/encoder.h"
#include "model/architecture/layer_roles.h"
#include "model/architecture/rope_table.h"
#include "model/architecture/shape.h"
#include "model/gguf/reader.h"
#include "model/synth.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"
#include "text/vocab.h"

namespace tg::model {
namespace {

using isa::DType;

struct CodecChoice {
  std::string_view name;
  DType codec;    // of matrices
  DType better;   // of those that a mixture keeps finer
  DType experts;  // of experts' matrices
  u32 file_type;  // general.file_type
};

constexpr auto kCodecs = std::to_array<CodecChoice>({
    {"f32", DType::kF32, DType::kF32, DType::kF32, 0},
    {"f16", DType::kF16, DType::kF16, DType::kF16, 1},
    {"bf16", DType::kBf16, DType::kBf16, DType::kBf16, 32},
    {"q4_0", DType::kQ4_0, DType::kQ4_0, DType::kQ4_0, 2},
    {"q8_0", DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, 7},
    {"q4_k", DType::kQ4K, DType::kQ4K, DType::kQ4K, 14},
    {"q4_k_m", DType::kQ4K, DType::kQ6K, DType::kQ4K, 15},
    {"q6_k", DType::kQ6K, DType::kQ6K, DType::kQ6K, 18},
    {"mxfp4", DType::kQ8_0, DType::kQ8_0, DType::kMxfp4, 38},
});

constexpr i64 kByteTokens = 256;
constexpr i64 kTokenTypes = 2;

Result<CodecChoice> find_codec(std::string_view name) {
  std::string known;
  for (const CodecChoice& choice : kCodecs) {
    if (choice.name == name) return choice;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", choice.name);
  }
  return Error{Code::kInvalid, fmt::format("codec {} is not one of {}", gguf::quote(name), known)};
}

// The layers that mixtures keep finer: the first and last eighth, and every third between.
bool is_finer_layer(i64 layer, i64 layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// Rows that are no whole blocks of the codec get one of smaller blocks.
DType fitting(DType codec, i64 columns) {
  for (DType candidate : {codec, DType::kQ8_0})
    if (columns % isa::info(candidate).block_elements == 0) return candidate;
  return DType::kF16;
}

class Tensors {
 public:
  Tensors(const SynthShape& shape, const CodecChoice& choice, gguf::Header& header)
      : s_(shape), choice_(choice), out_(header.tensors) {}

  // layer -1: not of a layer. Vectors, biases and routers stay f32 as in published files.
  void add(i64 layer, std::string_view tensor, std::vector<i64> dims) {
    bool is_matrix = dims.size() > 1 && tensor.ends_with(".weight") &&
                     !tensor.starts_with("ffn_gate_inp") && !tensor.starts_with("token_types") &&
                     !tensor.starts_with("position_embd");
    DType codec = is_matrix ? fitting(matrix_codec(layer, tensor, dims), dims.back()) : DType::kF32;
    std::string name = layer < 0 ? std::string(tensor) : fmt::format("blk.{}.{}", layer, tensor);
    out_.push_back({std::move(name), codec, std::move(dims)});
  }

 private:
  DType matrix_codec(i64 layer, std::string_view tensor, const std::vector<i64>& dims) const {
    if (layer < 0) {
      bool is_head = tensor == "output.weight" || s_.is_tied;
      return is_head ? choice_.better : choice_.codec;
    }
    bool is_finer = tensor.starts_with("attn_v") || tensor.starts_with("ffn_down");
    if (is_finer && is_finer_layer(layer, s_.layers) && choice_.better != choice_.codec)
      return choice_.better;
    bool is_expert = dims.size() == 3 && tensor.starts_with("ffn_");
    return is_expert ? choice_.experts : choice_.codec;
  }

  const SynthShape& s_;
  const CodecChoice& choice_;
  std::vector<gguf::TensorDecl>& out_;
};

std::vector<std::string> vocabulary_tokens(i64 count) {
  std::vector<std::string> tokens;
  for (i64 i = 0; i < count; ++i) {
    if (i >= kByteTokens) {
      tokens.push_back(fmt::format("<t{}>", i));
      continue;
    }
    append_utf8(tokens.emplace_back(), alphabet_char(static_cast<u8>(i)));
  }
  tokens.back() = "<|endoftext|>";
  return tokens;
}

void add_vocabulary(i64 count, gguf::Header& header) {
  std::vector<i32> types(static_cast<std::size_t>(count), static_cast<i32>(TokenType::kNormal));
  types.back() = static_cast<i32>(TokenType::kControl);
  u32 last = static_cast<u32>(count - 1);
  header.set("tokenizer.ggml.model", std::string("gpt2"));
  header.set("tokenizer.ggml.pre", std::string("gpt-2"));
  header.set("tokenizer.ggml.tokens", vocabulary_tokens(count));
  header.set("tokenizer.ggml.token_type", types);
  header.set("tokenizer.ggml.merges", std::vector<std::string>());
  header.set("tokenizer.ggml.bos_token_id", last);
  header.set("tokenizer.ggml.eos_token_id", last);
  header.set("tokenizer.ggml.add_bos_token", false);
}

// The keys of one architecture.
class ShapeKeys {
 public:
  ShapeKeys(const SynthShape& shape, gguf::Header& header)
      : s_(shape), header_(header), prefix_(std::string(shape.architecture) + ".") {}

  void write(bool is_encoder, bool no_data) {
    count("block_count", s_.layers);
    count("context_length", s_.context);
    count("embedding_length", s_.width);
    count("feed_forward_length", s_.ffn);
    count("attention.head_count", s_.heads);
    is_encoder ? encoder() : decoder();
    count("vocab_size", s_.vocabulary);
    if (s_.window > 0) count("attention.sliding_window", s_.window);
    if (s_.score_cap > 0) real("attn_logit_softcapping", s_.score_cap);
    if (s_.logit_cap > 0) real("final_logit_softcapping", s_.logit_cap);
    if (s_.experts.count > 0) experts();
    scaling(no_data);
  }

 private:
  void count(std::string_view key, i64 value) {
    header_.set(prefix_ + std::string(key), static_cast<u32>(value));
  }
  void real(std::string_view key, f32 value) { header_.set(prefix_ + std::string(key), value); }
  void text(std::string_view key, std::string_view value) {
    header_.set(prefix_ + std::string(key), std::string(value));
  }
  void flag(std::string_view key, bool value) { header_.set(prefix_ + std::string(key), value); }

  void encoder() {
    real("attention.layer_norm_epsilon", s_.eps);
    flag("attention.causal", false);
    count("pooling_type", s_.pooling);
  }

  void decoder() {
    count("attention.head_count_kv", s_.kv_heads);
    if (s_.latent.rank > 0) {
      latent();
    } else {
      count("attention.key_length", s_.head_dim);
      count("attention.value_length", s_.head_dim);
    }
    real("attention.layer_norm_rms_epsilon", s_.eps);
    count("rope.dimension_count", s_.rotated > 0 ? s_.rotated : s_.head_dim);
    real("rope.freq_base", s_.rope_base);
  }

  void latent() {
    const SynthLatent& l = s_.latent;
    if (l.query_rank > 0) count("attention.q_lora_rank", l.query_rank);
    count("attention.kv_lora_rank", l.rank);
    count("attention.key_length", l.rank + s_.rotated);
    count("attention.value_length", l.rank);
    count("attention.key_length_mla", s_.head_dim);
    count("attention.value_length_mla", l.value_dim);
  }

  void experts() {
    const SynthExperts& e = s_.experts;
    count("expert_count", e.count);
    count("expert_used_count", e.used);
    count("expert_feed_forward_length", e.ffn);
    if (e.shared > 0) count("expert_shared_count", e.shared);
    if (e.dense_layers > 0) count("leading_dense_block_count", e.dense_layers);
    if (e.groups > 1) count("expert_group_count", e.groups);
    if (e.groups > 1) count("expert_group_used_count", e.groups_used);
    if (e.gate > 0) count("expert_gating_func", e.gate);
    if (e.renormalizes) flag("expert_weights_norm", true);
    if (e.scale > 0) real("expert_weights_scale", e.scale);
  }

  // Without data there is nowhere to put the divisors of Llama 3.1, so the scaling is stated.
  void scaling(bool no_data) {
    if (s_.has_banded_rope && no_data) {
      text("rope.scaling.type", "llama3");
      real("rope.scaling.factor", static_cast<f32>(kLlama31Scaling.factor));
      real("rope.scaling.low_freq_factor", static_cast<f32>(kLlama31Scaling.low));
      real("rope.scaling.high_freq_factor", static_cast<f32>(kLlama31Scaling.high));
      count("rope.scaling.original_context_length",
            static_cast<i64>(kLlama31Scaling.original_context));
    }
    if (s_.linear_rope_factor > 0) {
      text("rope.scaling.type", "linear");
      real("rope.scaling.factor", s_.linear_rope_factor);
    }
    if (s_.longrope_original > 0)
      count("rope.scaling.original_context_length", s_.longrope_original);
    if (s_.yarn.factor == 0) return;
    text("rope.scaling.type", "yarn");
    real("rope.scaling.factor", s_.yarn.factor);
    count("rope.scaling.original_context_length", s_.yarn.original_context);
    if (s_.yarn.log_multiplier > 0)
      real("rope.scaling.yarn_log_multiplier", s_.yarn.log_multiplier);
  }

  const SynthShape& s_;
  gguf::Header& header_;
  std::string prefix_;
};

bool is_written(const SynthShape& s, std::size_t role, Need need) {
  if (need != Need::kOptional) return need == Need::kRequired;
  bool is_qkv = role == kBq || role == kBk || role == kBv || role == kBqkv;
  return (is_qkv && s.has_qkv_biases) || (role == kSelect && s.experts.has_bias);
}

void add_decoder(const SynthShape& s, const DecoderTraits& traits, const DecoderShape& shape,
                 Tensors& out) {
  for (i64 layer = 0; layer < s.layers; ++layer) {
    std::array<RoleInfo, kRoles> roles = layer_roles(shape, traits, layer);
    for (std::size_t role = 0; role < kRoles; ++role)
      if (is_written(s, role, roles[role].need))
        out.add(layer, roles[role].tensor, roles[role].dims);
  }
  out.add(-1, "output_norm.weight", {s.width});
  if (!s.is_tied) out.add(-1, "output.weight", {s.vocabulary, s.width});
}

void add_encoder(const EncoderShape& shape, Tensors& out) {
  for (const EncoderTensor& global : encoder_globals(shape))
    if (global.tensor != "token_embd.weight") out.add(-1, global.tensor, global.dims);
  for (i64 layer = 0; layer < shape.layers; ++layer)
    for (const EncoderTensor& part : encoder_layer(shape)) out.add(layer, part.tensor, part.dims);
}

void add_rope_tensors(const SynthShape& s, bool no_data, Tensors& out) {
  i64 pairs = (s.rotated > 0 ? s.rotated : s.head_dim) / 2;
  if (s.has_banded_rope && !no_data) out.add(-1, kDivisorTensor, {pairs});
  if (s.longrope_original == 0) return;
  out.add(-1, kLongDivisors, {pairs});
  out.add(-1, kShortDivisors, {pairs});
}

// Reads the keys back, as the importer will, to learn which tensors they ask for.
Status add_tensors(const SynthShape& s, const DecoderTraits& traits, const CodecChoice& choice,
                   bool no_data, gguf::Header& header) {
  Tensors out(s, choice, header);
  out.add(-1, "token_embd.weight", {s.vocabulary, s.width});
  gguf::Header keys = header;
  keys.set(gguf::kNoDataKey, true);
  keys.tensors.push_back({"token_types.weight", DType::kF32, {kTokenTypes, s.width}});
  TG_ASSIGN(std::vector<u8> bytes, gguf::encode_header(keys));
  TG_ASSIGN(gguf::File file, gguf::File::parse(bytes));
  if (traits.stack == Stack::kEncoder) {
    TG_ASSIGN(EncoderShape shape, read_encoder_shape(file, traits));
    add_encoder(shape, out);
    return {};
  }
  TG_ASSIGN(DecoderShape shape, read_shape(file, traits));
  add_decoder(s, traits, shape, out);
  add_rope_tensors(s, no_data, out);
  return {};
}

}  // namespace

Result<gguf::Header> synth_header(const SynthShape& shape, std::string_view codec, bool no_data) {
  TG_ASSIGN(CodecChoice choice, find_codec(codec));
  TG_ASSIGN(DecoderTraits traits, find_architecture(shape.architecture));
  if (shape.vocabulary <= kByteTokens)
    return Error{Code::kInvalid,
                 fmt::format("a vocabulary of {} has no room for {} bytes and an end",
                             shape.vocabulary, kByteTokens)};
  if (no_data && shape.longrope_original > 0)
    return Error{
        Code::kUnsupported,
        fmt::format("shape {} has rope factors, which only a file with data can hold", shape.name)};
  gguf::Header header;
  header.set("general.architecture", std::string(shape.architecture));
  header.set("general.name", fmt::format("{} (synthetic, {})", shape.name, codec));
  header.set("general.file_type", choice.file_type);
  header.set("general.quantization_version", u32{2});
  if (no_data) header.set(gguf::kNoDataKey, true);
  ShapeKeys(shape, header).write(traits.stack == Stack::kEncoder, no_data);
  TG_TRY(add_tensors(shape, traits, choice, no_data, header));
  add_vocabulary(shape.vocabulary, header);
  return header;
}

}  // namespace tg::model
