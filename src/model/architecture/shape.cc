// Straight reading, key by key; then what must hold between them.
#include "model/architecture/shape.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "isa/limits.h"
#include "model/architecture/expert_shape.h"
#include "model/architecture/keys.h"

namespace tg::model {
namespace {

// Settings of related families that would change the logits; the template must not ignore them.
constexpr auto kMustBeUnset = std::to_array<std::string_view>({
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.temperature_scale",
    "attention.temperature_length",
    "attention.output_scale",
    "attention.shared_kv_layers",
    "rope.dimension_sections",
    "interleave_moe_layer_step",
    "moe_every_n_layers",
    "moe_latent_size",
    "expert_group_scale",
    "router_logit_softcapping",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
});
constexpr std::string_view kScoreCapKey = "attn_logit_softcapping";
constexpr std::string_view kLogitCapKey = "final_logit_softcapping";

Status check_settings(const gguf::File& file, const Keys& keys, const DecoderTraits& traits) {
  if (traits.experts == ExpertUse::kNever) TG_TRY(keys.require_unset("expert_count"));
  if (!traits.has_soft_caps) TG_TRY(keys.require_unset(kScoreCapKey));
  if (!traits.has_soft_caps) TG_TRY(keys.require_unset(kLogitCapKey));
  for (std::string_view key : kMustBeUnset) TG_TRY(keys.require_unset(key));
  TG_ASSIGN(std::optional<bool> is_causal, file.boolean(keys.full("attention.causal")));
  if (is_causal.value_or(true)) return {};
  return Error{Code::kUnsupported, fmt::format("gguf: key {} is false, which is not supported",
                                               gguf::quote(keys.full("attention.causal")))};
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

Status read_grouped(const Keys& keys, DecoderShape& shape) {
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
  TG_ASSIGN(shape.rotated,
            keys.integer_or("rope.dimension_count", shape.key_dim, {2, shape.key_dim}));
  return {};
}

// The plain length keys describe the latent row, which is what the cache holds; the lengths of a
// head are keys of their own.
Status read_latent(const Keys& keys, DecoderShape& shape) {
  LatentShape& latent = shape.latent;
  TG_ASSIGN(shape.heads, keys.integer("attention.head_count", {1, isa::kHeadsMax}));
  shape.kv_heads = shape.heads;
  TG_ASSIGN(latent.query_rank, keys.integer_or("attention.q_lora_rank", 0, {0, isa::kDimMax}));
  TG_ASSIGN(latent.rank, keys.integer("attention.kv_lora_rank", {1, kHeadDimMax}));
  TG_ASSIGN(shape.key_dim, keys.integer("attention.key_length_mla", {1, kHeadDimMax}));
  TG_ASSIGN(shape.value_dim, keys.integer("attention.value_length_mla", {1, kHeadDimMax}));
  TG_ASSIGN(shape.rotated, keys.integer("rope.dimension_count", {2, kHeadDimMax}));
  latent.nope = shape.key_dim - shape.rotated;
  if (latent.nope > 0) return {};
  return Error{Code::kInvalid,
               fmt::format("gguf: key {} is {}, expected more than the {} elements that rope turns",
                           gguf::quote(keys.full("attention.key_length_mla")), shape.key_dim,
                           shape.rotated)};
}

Result<isa::RopeStyle> read_rope_style(const gguf::File& file, isa::RopeStyle usual) {
  TG_ASSIGN(std::optional<std::string_view> stated, file.text(kRopeStyleKey));
  if (!stated.has_value()) return usual;
  if (*stated == "neox") return isa::RopeStyle::kNeox;
  if (*stated == "gptj") return isa::RopeStyle::kGptj;
  return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected 'neox' or 'gptj'",
                                           gguf::quote(kRopeStyleKey), gguf::quote(*stated))};
}

Status read_local_rope(const Keys& keys, f64 usual_base, DecoderShape& shape) {
  TG_ASSIGN(f64 base, keys.positive_or("rope.freq_base_swa", usual_base));
  if (base <= 1)
    return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected more than 1",
                                             gguf::quote(keys.full("rope.freq_base_swa")), base)};
  // One instruction turns the heads of all layers, so there is one magnitude.
  if (shape.rope.magnitude != 1.0f)
    return Error{Code::kUnsupported,
                 fmt::format("gguf: rope of magnitude {} beside a local one is not supported",
                             shape.rope.magnitude)};
  shape.local_rope = plain_rope_table(base, shape.rotated);
  return {};
}

Status read_rope(const gguf::File& file, const Keys& keys, const DecoderTraits& traits,
                 const ImportOptions& options, DecoderShape& shape) {
  if (shape.rotated % 2 != 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: {} rotated elements of a head are not pairs", shape.rotated)};
  TG_ASSIGN(shape.rope_style, read_rope_style(file, traits.rope));
  i64 bound = options.bounds.context;
  RopeRequest request{.rotated = shape.rotated,
                      .context = shape.context,
                      .bound = bound > 0 ? bound : shape.context,
                      .truncates_yarn = traits.truncates_yarn,
                      .scales_scores = traits.attention == AttentionKind::kLatent};
  TG_ASSIGN(shape.rope, read_rope_table(file, keys, request));
  if (traits.local_rope_base == 0) return {};
  return read_local_rope(keys, traits.local_rope_base, shape);
}

Status read_scales(const Keys& keys, const DecoderTraits& traits, DecoderShape& shape) {
  bool by_width = shape.layers == traits.width_scaled_layers;
  f64 length = by_width ? static_cast<f64>(shape.width) / static_cast<f64>(shape.heads)
                        : static_cast<f64>(shape.key_dim);
  TG_ASSIGN(f64 stated, keys.real_or("attention.scale", 0));
  f64 scale = stated == 0 ? 1 / std::sqrt(length) : stated;
  shape.attention_scale = static_cast<f32>(scale * static_cast<f64>(shape.rope.score_scale));
  if (traits.scales_embedding) shape.embedding_scale = std::sqrt(static_cast<f32>(shape.width));
  if (!traits.has_soft_caps) return {};
  TG_ASSIGN(f64 score_cap, keys.positive(kScoreCapKey));
  TG_ASSIGN(f64 logit_cap, keys.positive(kLogitCapKey));
  shape.attention_softcap = static_cast<f32>(score_cap);
  shape.logit_softcap = static_cast<f32>(logit_cap);
  return {};
}

Status read_window(const Keys& keys, const DecoderTraits& traits, DecoderShape& shape) {
  constexpr std::string_view kKey = "attention.sliding_window";
  if (traits.window_period > 1) {
    TG_ASSIGN(shape.window, keys.integer(kKey, {1, isa::kContextMax}));
  } else {
    TG_ASSIGN(shape.window, keys.integer_or(kKey, 0, {0, isa::kContextMax}));
  }
  TG_ASSIGN(shape.window_period, keys.integer_or("attention.sliding_window_pattern",
                                                 traits.window_period, {1, isa::kCycleMax}));
  return {};
}

// Blocks that predict further tokens come last and are not part of the model.
Result<i64> read_layers(const Keys& keys) {
  TG_ASSIGN(i64 blocks, keys.integer("block_count", {1, isa::kLayersMax}));
  TG_ASSIGN(i64 further, keys.integer_or("nextn_predict_layers", 0, {0, blocks - 1}));
  return blocks - further;
}

// Models whose every layer has experts need not state a width of dense layers.
Status read_widths(const Keys& keys, const DecoderTraits& traits, DecoderShape& shape) {
  TG_ASSIGN(shape.layers, read_layers(keys));
  TG_ASSIGN(shape.width, keys.integer("embedding_length", {1, isa::kDimMax}));
  Range range = {1, isa::kDimMax};
  if (traits.experts == ExpertUse::kAlways) {
    TG_ASSIGN(shape.ffn, keys.integer_or("feed_forward_length", 0, range));
  } else {
    TG_ASSIGN(shape.ffn, keys.integer("feed_forward_length", range));
  }
  TG_ASSIGN(shape.context, keys.integer("context_length", {1, isa::kContextMax}));
  return {};
}

}  // namespace

Result<i64> read_vocabulary_size(const gguf::File& file) {
  const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr)
    return Error{Code::kNotFound, "gguf: tensor 'token_embd.weight' is missing"};
  if (embedding->dims.size() != 2 || embedding->dims[0] > isa::kDimMax)
    return Error{Code::kInvalid, fmt::format("gguf: tensor 'token_embd.weight' is {}, expected "
                                             "[vocabulary,width]",
                                             gguf::dims_text(embedding->dims))};
  return embedding->dims[0];
}

Result<DecoderShape> read_shape(const gguf::File& file, const DecoderTraits& traits,
                                const ImportOptions& options) {
  TG_ASSERT(traits.stack == Stack::kDecoder);
  Keys keys(file, traits.name);
  TG_TRY(check_settings(file, keys, traits));
  DecoderShape shape;
  TG_TRY(read_widths(keys, traits, shape));
  TG_TRY(read_window(keys, traits, shape));
  TG_ASSIGN(f64 eps, keys.positive("attention.layer_norm_rms_epsilon"));
  shape.eps = static_cast<f32>(eps);
  bool is_latent = traits.attention == AttentionKind::kLatent;
  TG_TRY(is_latent ? read_latent(keys, shape) : read_grouped(keys, shape));
  TG_ASSIGN(shape.vocabulary, read_vocabulary_size(file));
  TG_TRY(read_rope(file, keys, traits, options, shape));
  TG_TRY(read_scales(keys, traits, shape));
  TG_ASSIGN(shape.experts, read_experts(file, keys, traits, shape));
  return shape;
}

}  // namespace tg::model
