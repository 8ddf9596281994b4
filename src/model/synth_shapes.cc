// The published shapes, as a table.
#include <fmt/format.h>

#include <array>

#include "model/synth.h"

namespace tg::model {
namespace {

// clang-format off
// tiny is for tests; tg-r1 is the reference model of the Standard Token. Columns: name,
// architecture, layers, width, heads, kv_heads, head_dim, ffn, vocabulary, context; then, where
// they are not the default, window, rope_base, eps, is_tied, has_banded_rope.
constexpr auto kShapes = std::to_array<SynthShape>({
    {"tiny", "llama", 2, 256, 8, 4, 32, 512, 512, 2'048},
    {"llama-1b", "llama", 22, 2'048, 32, 4, 64, 5'632, 32'000, 2'048},
    {"llama-2-7b", "llama", 32, 4'096, 32, 32, 128, 11'008, 32'000, 4'096},
    {"llama-3.1-8b", "llama", 32, 4'096, 32, 8, 128, 14'336, 128'256, 131'072, 0, 500'000, 1e-5f,
     false, true},
    {"llama-3.1-70b", "llama", 80, 8'192, 64, 8, 128, 28'672, 128'256, 131'072, 0, 500'000, 1e-5f,
     false, true},
    {"mistral-7b", "llama", 32, 4'096, 32, 8, 128, 14'336, 32'000, 32'768, 4'096},
    {"qwen3-0.6b", "qwen3", 28, 1'024, 16, 8, 128, 3'072, 151'936, 40'960, 0, 1'000'000, 1e-6f,
     true},
    {"tg-r1", "llama", 32, 4'096, 32, 8, 128, 14'336, 32'000, 8'192},
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
