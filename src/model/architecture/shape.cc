// Straight reading, key by key; then what must hold between them.
#include "model/architecture/shape.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "isa/limits.h"
#include "model/architecture/keys.h"

namespace tg::model {
namespace {

// Settings of related families that would change the logits; the template must not ignore them.
constexpr auto kMustBeUnset = std::to_array<std::string_view>({
    "expert_count",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.temperature_scale",
});

Status check_settings(const gguf::File& file, const Keys& keys) {
  for (std::string_view key : kMustBeUnset) TG_TRY(keys.require_unset(key));
  TG_ASSIGN(std::optional<bool> is_causal, file.boolean(keys.full("attention.causal")));
  if (is_causal.value_or(true)) return {};
  return Error{Code::kUnsupported, fmt::format("gguf: key {} is false, which is not supported",
                                               gguf::quote(keys.full("attention.causal")))};
}

Result<i64> read_vocabulary(const gguf::File& file) {
  const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr)
    return Error{Code::kNotFound, "gguf: tensor 'token_embd.weight' is missing"};
  if (embedding->dims.size() != 2 || embedding->dims[0] > isa::kDimMax)
    return Error{Code::kInvalid, fmt::format("gguf: tensor 'token_embd.weight' is {}, expected "
                                             "[vocabulary,width]",
                                             gguf::dims_text(embedding->dims))};
  return embedding->dims[0];
}

// Bounds the table of rope frequencies, which the program carries.
constexpr i64 kHeadDimMax = 8'192;

// A head is width / heads wide unless the file says otherwise.
Result<i64> read_head_dim(const Keys& keys, std::string_view key, const DecoderShape& shape) {
  TG_ASSIGN(i64 stated, keys.integer_or(key, 0, {1, kHeadDimMax}));
  if (stated > 0) return stated;
  if (shape.width % shape.heads != 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, not a multiple of {} heads",
                             gguf::quote(keys.full("embedding_length")), shape.width, shape.heads)};
  if (shape.width / shape.heads > kHeadDimMax)
    return Error{Code::kLimit, fmt::format("gguf: heads of {} elements are over the limit of {}",
                                           shape.width / shape.heads, kHeadDimMax)};
  return shape.width / shape.heads;
}

Status read_heads(const Keys& keys, DecoderShape& shape) {
  TG_ASSIGN(shape.heads, keys.integer("attention.head_count", {1, isa::kHeadsMax}));
  TG_ASSIGN(shape.kv_heads,
            keys.integer_or("attention.head_count_kv", shape.heads, {1, isa::kHeadsMax}));
  if (shape.heads % shape.kv_heads != 0)
    return Error{
        Code::kInvalid,
        fmt::format("gguf: key {} is {}, not a multiple of {} key-value heads",
                    gguf::quote(keys.full("attention.head_count")), shape.heads, shape.kv_heads)};
  TG_ASSIGN(shape.key_dim, read_head_dim(keys, "attention.key_length", shape));
  TG_ASSIGN(shape.value_dim, read_head_dim(keys, "attention.value_length", shape));
  f64 scale = 1 / std::sqrt(static_cast<f64>(shape.key_dim));
  TG_ASSIGN(f64 stated, keys.real_or("attention.scale", 0));
  shape.attention_scale = static_cast<f32>(stated == 0 ? scale : stated);
  return {};
}

Status read_rope(const gguf::File& file, const Keys& keys, DecoderShape& shape) {
  TG_ASSIGN(shape.rotated,
            keys.integer_or("rope.dimension_count", shape.key_dim, {2, shape.key_dim}));
  if (shape.rotated % 2 != 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: {} rotated elements of a head are not pairs", shape.rotated)};
  TG_ASSIGN(shape.rope, read_rope_table(file, keys, shape.rotated, shape.context));
  return {};
}

}  // namespace

Result<DecoderShape> read_shape(const gguf::File& file, const DecoderTraits& traits) {
  Keys keys(file, traits.name);
  TG_TRY(check_settings(file, keys));
  DecoderShape shape;
  TG_ASSIGN(shape.layers, keys.integer("block_count", {1, isa::kLayersMax}));
  TG_ASSIGN(shape.width, keys.integer("embedding_length", {1, isa::kDimMax}));
  TG_ASSIGN(shape.ffn, keys.integer("feed_forward_length", {1, isa::kDimMax}));
  TG_ASSIGN(shape.context, keys.integer("context_length", {1, isa::kContextMax}));
  TG_ASSIGN(shape.window, keys.integer_or("attention.sliding_window", 0, {0, isa::kContextMax}));
  TG_ASSIGN(f64 eps, keys.positive("attention.layer_norm_rms_epsilon"));
  shape.eps = static_cast<f32>(eps);
  TG_TRY(read_heads(keys, shape));
  TG_ASSIGN(shape.vocabulary, read_vocabulary(file));
  TG_TRY(read_rope(file, keys, shape));
  return shape;
}

}  // namespace tg::model
