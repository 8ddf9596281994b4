// The table. Numbers are those of the published configurations.
#include "model/synth_shapes.h"

#include <fmt/format.h>

#include <array>

#include "model/gguf/format.h"

namespace tg::model {
namespace {

// clang-format off
// Columns of the first part: name, architecture, layers, width, heads, kv_heads, head_dim, ffn,
// vocabulary, context; then, where they are not the default, window, rope_base, eps, is_tied,
// has_banded_rope. tiny is for tests; tg-r1 is the reference model of the Standard Token.
constexpr auto kShapes = std::to_array<SynthShape>({
    {"tiny", "llama", 2, 256, 8, 4, 32, 512, 512, 2'048},
    {"llama-1b", "llama", 22, 2'048, 32, 4, 64, 5'632, 32'000, 2'048},
    {"llama-2-7b", "llama", 32, 4'096, 32, 32, 128, 11'008, 32'000, 4'096},
    {"llama-3.1-8b", "llama", 32, 4'096, 32, 8, 128, 14'336, 128'256, 131'072, 0, 500'000, 1e-5f,
     false, true},
    {"llama-3.1-70b", "llama", 80, 8'192, 64, 8, 128, 28'672, 128'256, 131'072, 0, 500'000, 1e-5f,
     false, true},
    {"mistral-7b", "llama", 32, 4'096, 32, 8, 128, 14'336, 32'000, 32'768, 4'096},
    {.name = "mixtral-8x7b", .architecture = "llama", .layers = 32, .width = 4'096, .heads = 32,
     .kv_heads = 8, .head_dim = 128, .ffn = 14'336, .vocabulary = 32'000, .context = 32'768,
     .rope_base = 1'000'000, .experts = {.count = 8, .used = 2, .ffn = 14'336}},
    {"qwen2.5-7b", "qwen2", 28, 3'584, 28, 4, 128, 18'944, 152'064, 32'768, 0, 1'000'000, 1e-6f},
    {"qwen3-0.6b", "qwen3", 28, 1'024, 16, 8, 128, 3'072, 151'936, 40'960, 0, 1'000'000, 1e-6f,
     true},
    {"qwen3-8b", "qwen3", 36, 4'096, 32, 8, 128, 12'288, 151'936, 40'960, 0, 1'000'000, 1e-6f},
    {.name = "qwen3-30b-a3b", .architecture = "qwen3moe", .layers = 48, .width = 2'048, .heads = 32,
     .kv_heads = 4, .head_dim = 128, .ffn = 6'144, .vocabulary = 151'936, .context = 40'960,
     .rope_base = 1'000'000, .eps = 1e-6f, .experts = {.count = 128, .used = 8, .ffn = 768}},
    {.name = "gemma-2-9b", .architecture = "gemma2", .layers = 42, .width = 3'584, .heads = 16,
     .kv_heads = 8, .head_dim = 256, .ffn = 14'336, .vocabulary = 256'000, .context = 8'192,
     .window = 4'096, .eps = 1e-6f, .is_tied = true, .score_cap = 50, .logit_cap = 30},
    {.name = "gemma-3-4b", .architecture = "gemma3", .layers = 34, .width = 2'560, .heads = 8,
     .kv_heads = 4, .head_dim = 256, .ffn = 10'240, .vocabulary = 262'208, .context = 131'072,
     .window = 1'024, .rope_base = 1'000'000, .eps = 1e-6f, .is_tied = true,
     .linear_rope_factor = 8},
    {.name = "gemma-3-12b", .architecture = "gemma3", .layers = 48, .width = 3'840, .heads = 16,
     .kv_heads = 8, .head_dim = 256, .ffn = 15'360, .vocabulary = 262'208, .context = 131'072,
     .window = 1'024, .rope_base = 1'000'000, .eps = 1e-6f, .is_tied = true,
     .linear_rope_factor = 8},
    {"phi-3-mini", "phi3", 32, 3'072, 32, 32, 96, 8'192, 32'064, 4'096, 2'047},
    {.name = "glm-4-9b", .architecture = "glm4", .layers = 40, .width = 4'096, .heads = 32,
     .kv_heads = 2, .head_dim = 128, .ffn = 13'696, .vocabulary = 151'552, .context = 32'768,
     .has_qkv_biases = true, .rotated = 64},
    {.name = "gpt-oss-20b", .architecture = "gpt-oss", .layers = 24, .width = 2'880, .heads = 64,
     .kv_heads = 8, .head_dim = 64, .ffn = 2'880, .vocabulary = 201'088, .context = 131'072,
     .window = 128, .rope_base = 150'000, .yarn = {.factor = 32, .original_context = 4'096},
     .experts = {.count = 32, .used = 4, .ffn = 2'880}},
    {.name = "gpt-oss-120b", .architecture = "gpt-oss", .layers = 36, .width = 2'880, .heads = 64,
     .kv_heads = 8, .head_dim = 64, .ffn = 2'880, .vocabulary = 201'088, .context = 131'072,
     .window = 128, .rope_base = 150'000, .yarn = {.factor = 32, .original_context = 4'096},
     .experts = {.count = 128, .used = 4, .ffn = 2'880}},
    {.name = "deepseek-v2-lite", .architecture = "deepseek2", .layers = 27, .width = 2'048,
     .heads = 16, .kv_heads = 1, .head_dim = 192, .ffn = 10'944, .vocabulary = 102'400,
     .context = 163'840, .eps = 1e-6f, .rotated = 64,
     .yarn = {.factor = 40, .original_context = 4'096, .log_multiplier = 0.0707f},
     .latent = {.rank = 512, .value_dim = 128},
     .experts = {.count = 64, .used = 6, .ffn = 1'408, .shared = 2, .dense_layers = 1, .gate = 1}},
    {.name = "deepseek-v3", .architecture = "deepseek2", .layers = 61, .width = 7'168,
     .heads = 128, .kv_heads = 1, .head_dim = 192, .ffn = 18'432, .vocabulary = 129'280,
     .context = 163'840, .eps = 1e-6f, .rotated = 64,
     .yarn = {.factor = 40, .original_context = 4'096, .log_multiplier = 0.1f},
     .latent = {.query_rank = 1'536, .rank = 512, .value_dim = 128},
     .experts = {.count = 256, .used = 8, .ffn = 2'048, .shared = 1, .dense_layers = 3,
                 .groups = 8, .groups_used = 4, .gate = 2, .renormalizes = true, .scale = 2.5f,
                 .has_bias = true}},
    {.name = "bge-small", .architecture = "bert", .layers = 12, .width = 384, .heads = 12,
     .head_dim = 32, .ffn = 1'536, .vocabulary = 30'522, .context = 512, .eps = 1e-12f,
     .pooling = 2},
    {"tg-r1", "llama", 32, 4'096, 32, 8, 128, 14'336, 32'000, 8'192},

    // One of each family, small enough for the reference interpreter. Weights are large enough for
    // scores and routes to differ visibly between keys and experts.
    {.name = "tiny-llama", .architecture = "llama", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 256,
     .rope_base = 500'000, .has_banded_rope = true, .deviation = 0.15f},
    {.name = "tiny-mistral", .architecture = "llama", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 256, .window = 12,
     .deviation = 0.15f},
    {.name = "tiny-mixtral", .architecture = "llama", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 16, .ffn = 64, .vocabulary = 320, .context = 256,
     .experts = {.count = 4, .used = 2, .ffn = 64}, .deviation = 0.15f},
    {.name = "tiny-qwen2", .architecture = "qwen2", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .is_tied = true, .deviation = 0.15f},
    {.name = "tiny-qwen3", .architecture = "qwen3", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 32, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .is_tied = true, .deviation = 0.15f},
    {.name = "tiny-qwen3moe", .architecture = "qwen3moe", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 32, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .experts = {.count = 8, .used = 3, .ffn = 32}, .deviation = 0.15f},
    {.name = "tiny-gemma", .architecture = "gemma", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 1, .head_dim = 32, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .is_tied = true, .deviation = 0.15f},
    {.name = "tiny-gemma2", .architecture = "gemma2", .layers = 3, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 32, .ffn = 96, .vocabulary = 320, .context = 256, .window = 12,
     .eps = 1e-6f, .is_tied = true, .score_cap = 5, .logit_cap = 3, .deviation = 0.15f},
    {.name = "tiny-gemma3", .architecture = "gemma3", .layers = 8, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 32, .ffn = 96, .vocabulary = 320, .context = 256, .window = 12,
     .rope_base = 1'000'000, .eps = 1e-6f, .is_tied = true, .linear_rope_factor = 8,
     .deviation = 0.15f},
    {.name = "tiny-phi3", .architecture = "phi3", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 4, .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 256, .window = 20,
     .longrope_original = 64, .deviation = 0.15f},
    {.name = "tiny-glm4", .architecture = "glm4", .layers = 2, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 256,
     .has_qkv_biases = true, .rotated = 8, .deviation = 0.15f},
    {.name = "tiny-gpt-oss", .architecture = "gpt-oss", .layers = 3, .width = 64, .heads = 4,
     .kv_heads = 2, .head_dim = 32, .ffn = 32, .vocabulary = 320, .context = 256, .window = 12,
     .rope_base = 150'000, .yarn = {.factor = 4, .original_context = 64},
     .experts = {.count = 8, .used = 2, .ffn = 32}, .deviation = 0.25f},
    {.name = "tiny-deepseek2", .architecture = "deepseek2", .layers = 3, .width = 64, .heads = 4,
     .kv_heads = 1, .head_dim = 24, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .rotated = 8, .yarn = {.factor = 4, .original_context = 64, .log_multiplier = 0.0707f},
     .latent = {.rank = 32, .value_dim = 16},
     .experts = {.count = 8, .used = 3, .ffn = 32, .shared = 2, .dense_layers = 1, .gate = 1},
     .deviation = 0.15f},
    {.name = "tiny-deepseek3", .architecture = "deepseek2", .layers = 3, .width = 64, .heads = 20,
     .kv_heads = 1, .head_dim = 40, .ffn = 96, .vocabulary = 320, .context = 256, .eps = 1e-6f,
     .rotated = 8, .yarn = {.factor = 4, .original_context = 64, .log_multiplier = 0.1f},
     .latent = {.query_rank = 32, .rank = 64, .value_dim = 32},
     .experts = {.count = 8, .used = 3, .ffn = 32, .shared = 1, .dense_layers = 1, .groups = 4,
                 .groups_used = 2, .gate = 2, .renormalizes = true, .scale = 2.5f,
                 .has_bias = true},
     .deviation = 0.15f},
    {.name = "tiny-bert", .architecture = "bert", .layers = 2, .width = 64, .heads = 4,
     .head_dim = 16, .ffn = 96, .vocabulary = 320, .context = 64, .eps = 1e-12f, .pooling = 2,
     .deviation = 0.15f},
});
// clang-format on

}  // namespace

std::span<const SynthShape> synth_shapes() {
  return kShapes;
}

Result<SynthShape> find_synth_shape(std::string_view name) {
  std::string known;
  for (const SynthShape& shape : kShapes) {
    if (shape.name == name) return shape;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", shape.name);
  }
  return Error{Code::kNotFound, fmt::format("shape {} is not one of {}", gguf::quote(name), known)};
}

}  // namespace tg::model
