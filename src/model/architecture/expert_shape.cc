// What a file leaves out is what its architecture's models do.
#include "model/architecture/expert_shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "isa/limits.h"

namespace tg::model {
namespace {

// Numbers of the container's gating functions.
Result<isa::RouteScore> read_route_score(const Keys& keys, isa::RouteScore usual) {
  TG_ASSIGN(i64 gate, keys.integer_or("expert_gating_func", 0, {0, 3}));
  if (gate == 1) return isa::RouteScore::kSoftmax;
  if (gate == 2) return isa::RouteScore::kSigmoid;
  if (gate == 3) return isa::RouteScore::kSoftmaxTopk;
  return usual;
}

// Groups are equal runs of experts, of which a token may use some; 0 means no groups.
Status read_groups(const Keys& keys, ExpertShape& experts) {
  TG_ASSIGN(i64 groups, keys.integer_or("expert_group_count", 0, {0, experts.count}));
  experts.groups = std::max<i64>(groups, 1);
  TG_ASSIGN(i64 used, keys.integer_or("expert_group_used_count", 0, {0, experts.groups}));
  experts.groups_used = used > 0 ? used : experts.groups;
  bool is_whole = experts.count % experts.groups == 0;
  if (is_whole && experts.used <= experts.count / experts.groups * experts.groups_used) return {};
  return Error{Code::kInvalid,
               fmt::format("gguf: {} of {} experts cannot be chosen from {} of {} groups",
                           experts.used, experts.count, experts.groups_used, experts.groups)};
}

Status read_weighting(const gguf::File& file, const Keys& keys, const DecoderTraits& traits,
                      ExpertShape& experts) {
  TG_ASSIGN(experts.score, read_route_score(keys, traits.route_score));
  TG_ASSIGN(std::optional<bool> renormalizes, file.boolean(keys.full("expert_weights_norm")));
  experts.renormalizes = renormalizes.value_or(traits.renormalizes_experts);
  TG_ASSIGN(f64 scale, keys.real_or("expert_weights_scale", 0));
  if (scale < 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, expected a positive number",
                             gguf::quote(keys.full("expert_weights_scale")), scale)};
  experts.scale = scale == 0 ? 1.0f : static_cast<f32>(scale);
  return {};
}

}  // namespace

Result<ExpertShape> read_experts(const gguf::File& file, const Keys& keys,
                                 const DecoderTraits& traits, const DecoderShape& shape) {
  ExpertShape experts;
  if (traits.experts == ExpertUse::kNever) return experts;
  bool is_optional = traits.experts == ExpertUse::kIfCounted;
  TG_ASSIGN(i64 count, keys.integer_or("expert_count", 0, {0, isa::kExpertsMax}));
  if (count == 0 && is_optional) return experts;
  TG_ASSIGN(experts.count, keys.integer("expert_count", {1, isa::kExpertsMax}));
  i64 most = std::min(experts.count, isa::kExpertsActiveMax);
  TG_ASSIGN(experts.used, keys.integer("expert_used_count", {1, most}));
  constexpr std::string_view kWidth = "expert_feed_forward_length";
  Range widths = {1, isa::kDimMax};
  if (shape.ffn > 0) {
    TG_ASSIGN(experts.ffn, keys.integer_or(kWidth, shape.ffn, widths));
  } else {
    TG_ASSIGN(experts.ffn, keys.integer(kWidth, widths));
  }
  TG_ASSIGN(i64 shared, keys.integer_or("expert_shared_count", 0, {0, isa::kExpertsMax}));
  if (shared > 0 && experts.ffn > isa::kDimMax / shared)
    return Error{Code::kLimit, fmt::format("gguf: {} shared experts of width {} are over the limit",
                                           shared, experts.ffn)};
  experts.shared_ffn = shared * experts.ffn;
  TG_ASSIGN(experts.dense_layers,
            keys.integer_or("leading_dense_block_count", 0, {0, shape.layers}));
  TG_TRY(read_weighting(file, keys, traits, experts));
  TG_TRY(read_groups(keys, experts));
  return experts;
}

}  // namespace tg::model
