// llama, deepseek2 and glm4 files hold q and k rows so that pairs are neighbours (gptj); the others
// keep the two halves of a head apart (neox).
#include "model/architecture/architectures.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "model/gguf/format.h"

namespace tg::model {
namespace {

using enum isa::RopeStyle;
using isa::Activation;
using isa::RouteScore;

constexpr auto kArchitectures = std::to_array<DecoderTraits>({
    // Llama 2 and 3, Mistral, and with experts Mixtral.
    {.name = "llama",
     .rope = kGptj,
     .experts = ExpertUse::kIfCounted,
     .renormalizes_experts = true},
    {.name = "qwen2", .rope = kNeox, .required_biases = Biases::kQkv},
    {.name = "qwen3", .rope = kNeox, .has_qk_norm = true},
    {.name = "qwen3moe",
     .rope = kNeox,
     .has_qk_norm = true,
     .experts = ExpertUse::kAlways,
     .renormalizes_experts = true},
    {.name = "gemma", .rope = kNeox, .scales_embedding = true, .gate = Activation::kGeluTanh},
    {.name = "gemma2",
     .rope = kNeox,
     .has_post_norms = true,
     .has_soft_caps = true,
     .scales_embedding = true,
     .gate = Activation::kGeluTanh,
     .window_period = 2,
     .width_scaled_layers = 46},
    {.name = "gemma3",
     .rope = kNeox,
     .has_qk_norm = true,
     .has_post_norms = true,
     .scales_embedding = true,
     .gate = Activation::kGeluTanh,
     .window_period = 6,
     .local_rope_base = 10'000,
     .width_scaled_layers = 62},
    {.name = "phi3", .rope = kNeox, .is_qkv_fused = true, .is_gate_up_fused = true},
    {.name = "glm4", .rope = kGptj, .has_post_norms = true, .is_gate_up_fused = true},
    {.name = "gpt-oss",
     .rope = kNeox,
     .required_biases = Biases::kAll,
     .has_sinks = true,
     .truncates_yarn = false,
     .second_norm = "post_attention_norm.weight",
     .gate = Activation::kSwigluOai,
     .window_period = 2,
     .experts = ExpertUse::kAlways,
     .route_score = RouteScore::kSoftmaxTopk},
    {.name = "deepseek2",
     .rope = kGptj,
     .attention = AttentionKind::kLatent,
     .experts = ExpertUse::kIfCounted},
    {.name = "bert", .stack = Stack::kEncoder},
});

}  // namespace

std::span<const DecoderTraits> architectures() {
  return kArchitectures;
}

Result<DecoderTraits> find_architecture(std::string_view name) {
  std::string known;
  for (const DecoderTraits& traits : kArchitectures) {
    if (traits.name == name) return traits;
    known += known.empty() ? std::string(traits.name) : fmt::format(", {}", traits.name);
  }
  return Error{Code::kUnsupported, fmt::format("architecture {} is not supported (known: {})",
                                               gguf::quote(name), known)};
}

}  // namespace tg::model
