// A header from a shape, then each tensor's blocks in portions, from a stream of its own.
#include "model/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/bytes.h"
#include "env/random.h"
#include "isa/dtype.h"
#include "model/architecture/architectures.h"
#include "model/architecture/rope_table.h"
#include "model/random_blocks.h"
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
  u32 file_type;  // general.file_type
};

constexpr auto kCodecs = std::to_array<CodecChoice>({
    {"f32", DType::kF32, DType::kF32, 0},
    {"f16", DType::kF16, DType::kF16, 1},
    {"bf16", DType::kBf16, DType::kBf16, 32},
    {"q4_0", DType::kQ4_0, DType::kQ4_0, 2},
    {"q8_0", DType::kQ8_0, DType::kQ8_0, 7},
    {"q4_k", DType::kQ4K, DType::kQ4K, 14},
    {"q4_k_m", DType::kQ4K, DType::kQ6K, 15},
    {"q6_k", DType::kQ6K, DType::kQ6K, 18},
});

constexpr BandedScaling kLlama31Scaling = {
    .factor = 8, .low = 1, .high = 4, .original_context = 8'192};
constexpr u64 kPortionBlocks = 4'096;
constexpr i64 kByteTokens = 256;
constexpr std::string_view kDivisorTensor = "rope_freqs.weight";

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

void add_shape(const SynthShape& shape, gguf::Header& header) {
  std::string prefix = std::string(shape.architecture) + ".";
  auto set_count = [&](std::string_view key, i64 value) {
    header.set(prefix + std::string(key), static_cast<u32>(value));
  };
  set_count("block_count", shape.layers);
  set_count("context_length", shape.context);
  set_count("embedding_length", shape.width);
  set_count("feed_forward_length", shape.ffn);
  set_count("attention.head_count", shape.heads);
  set_count("attention.head_count_kv", shape.kv_heads);
  set_count("attention.key_length", shape.head_dim);
  set_count("attention.value_length", shape.head_dim);
  header.set(prefix + "attention.layer_norm_rms_epsilon", shape.eps);
  set_count("rope.dimension_count", shape.head_dim);
  header.set(prefix + "rope.freq_base", shape.rope_base);
  set_count("vocab_size", shape.vocabulary);
  if (shape.window > 0) set_count("attention.sliding_window", shape.window);
}

// Without data there is nowhere to put the divisors, so the scaling itself is stated.
void add_banded_rope(const SynthShape& shape, gguf::Header& header) {
  std::string prefix = std::string(shape.architecture) + ".rope.scaling.";
  header.set(prefix + "type", std::string("llama3"));
  header.set(prefix + "factor", static_cast<f32>(kLlama31Scaling.factor));
  header.set(prefix + "low_freq_factor", static_cast<f32>(kLlama31Scaling.low));
  header.set(prefix + "high_freq_factor", static_cast<f32>(kLlama31Scaling.high));
  header.set(prefix + "original_context_length",
             static_cast<u32>(kLlama31Scaling.original_context));
}

void add_layer(const SynthShape& s, const CodecChoice& choice, i64 layer, bool has_qk_norm,
               std::vector<gguf::TensorDecl>& out) {
  DType finer = is_finer_layer(layer, s.layers) ? choice.better : choice.codec;
  i64 q = s.heads * s.head_dim;
  i64 kv = s.kv_heads * s.head_dim;
  auto add = [&](std::string_view name, DType codec, std::vector<i64> dims) {
    out.push_back({fmt::format("blk.{}.{}.weight", layer, name), codec, std::move(dims)});
  };
  add("attn_norm", DType::kF32, {s.width});
  add("attn_q", choice.codec, {q, s.width});
  add("attn_k", choice.codec, {kv, s.width});
  add("attn_v", finer, {kv, s.width});
  if (has_qk_norm) add("attn_q_norm", DType::kF32, {s.head_dim});
  if (has_qk_norm) add("attn_k_norm", DType::kF32, {s.head_dim});
  add("attn_output", choice.codec, {s.width, q});
  add("ffn_norm", DType::kF32, {s.width});
  add("ffn_gate", choice.codec, {s.ffn, s.width});
  add("ffn_up", choice.codec, {s.ffn, s.width});
  add("ffn_down", finer, {s.width, s.ffn});
}

void add_tensors(const SynthShape& s, const CodecChoice& choice, bool has_qk_norm, bool no_data,
                 std::vector<gguf::TensorDecl>& out) {
  DType head = choice.better;
  out.push_back({"token_embd.weight", s.is_tied ? head : choice.codec, {s.vocabulary, s.width}});
  for (i64 layer = 0; layer < s.layers; ++layer) add_layer(s, choice, layer, has_qk_norm, out);
  out.push_back({"output_norm.weight", DType::kF32, {s.width}});
  if (!s.is_tied) out.push_back({"output.weight", head, {s.vocabulary, s.width}});
  if (s.has_banded_rope && !no_data)
    out.push_back({std::string(kDivisorTensor), DType::kF32, {s.head_dim / 2}});
}

// FNV-1a, to give every tensor a stream of its own whatever the order of the file.
u64 stream_of(u64 seed, std::string_view name) {
  u64 hash = 0xCBF2'9CE4'8422'2325;
  for (char c : name) hash = (hash ^ static_cast<u8>(c)) * 0x0000'0100'0000'01B3;
  return hash ^ (seed * 0x9E37'79B9'7F4A'7C15);
}

class Filler {
 public:
  Filler(const SynthOptions& options, gguf::Writer& out, u64 total)
      : options_(options), out_(out), total_(total) {}

  Status fill(const gguf::TensorDecl& tensor) {
    TG_ASSIGN(u64 bytes, gguf::tensor_bytes(tensor));
    SeededRandom random(stream_of(options_.seed, tensor.name));
    if (tensor.name == kDivisorTensor) return append(divisors());
    u64 portion = kPortionBlocks * static_cast<u64>(isa::info(tensor.codec).block_bytes);
    for (u64 done = 0; done < bytes; done += buffer_.size()) {
      buffer_.resize(std::min(portion, bytes - done));
      bool is_norm = tensor.dims.size() == 1;
      is_norm ? fill_random_gains(random, buffer_) : fill_random(tensor.codec, random, buffer_);
      TG_TRY(append(buffer_));
    }
    return {};
  }

 private:
  Status append(std::span<const u8> bytes) {
    TG_TRY(out_.append(bytes));
    done_ += bytes.size();
    if (options_.progress) options_.progress(done_, total_);
    return {};
  }

  std::vector<u8> divisors() const {
    std::vector<f32> values = banded_divisors(
        kLlama31Scaling, static_cast<f64>(options_.shape.rope_base), options_.shape.head_dim);
    std::vector<u8> bytes;
    for (f32 value : values) append_u32(bytes, std::bit_cast<u32>(value));
    return bytes;
  }

  const SynthOptions& options_;
  gguf::Writer& out_;
  u64 total_;
  u64 done_ = 0;
  std::vector<u8> buffer_;
};

Result<u64> data_bytes(const gguf::Header& header) {
  u64 total = 0;
  for (const gguf::TensorDecl& tensor : header.tensors) {
    TG_ASSIGN(u64 bytes, gguf::tensor_bytes(tensor));
    total += bytes;
  }
  return total;
}

}  // namespace

Result<gguf::Header> synth_header(const SynthShape& shape, std::string_view codec, bool no_data) {
  TG_ASSIGN(CodecChoice choice, find_codec(codec));
  TG_ASSIGN(DecoderTraits traits, find_architecture(shape.architecture));
  if (shape.vocabulary <= kByteTokens)
    return Error{Code::kInvalid,
                 fmt::format("a vocabulary of {} has no room for {} bytes and an end",
                             shape.vocabulary, kByteTokens)};
  gguf::Header header;
  header.set("general.architecture", std::string(shape.architecture));
  header.set("general.name", fmt::format("{} (synthetic, {})", shape.name, codec));
  header.set("general.file_type", choice.file_type);
  header.set("general.quantization_version", u32{2});
  if (no_data) header.set(gguf::kNoDataKey, true);
  add_shape(shape, header);
  if (shape.has_banded_rope && no_data) add_banded_rope(shape, header);
  add_vocabulary(shape.vocabulary, header);
  add_tensors(shape, choice, traits.has_qk_norm, no_data, header.tensors);
  TG_TRY(data_bytes(header));
  return header;
}

Status synthesize(const SynthOptions& options) {
  TG_ASSIGN(gguf::Header header, synth_header(options.shape, options.codec, options.no_data));
  TG_ASSIGN(u64 total, data_bytes(header));
  TG_ASSIGN(gguf::Writer writer, gguf::Writer::create(options.path, header));
  if (options.no_data) return writer.finish();
  Filler filler(options, writer, total);
  for (const gguf::TensorDecl& tensor : header.tensors) TG_TRY(filler.fill(tensor));
  return writer.finish();
}

}  // namespace tg::model
