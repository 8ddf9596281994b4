// llama files store q and k rows permuted so that pairs are neighbours (gptj); qwen files keep the
// two halves of a head apart (neox).
#include "model/architecture/architectures.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "model/gguf/format.h"

namespace tg::model {
namespace {

constexpr std::array<DecoderTraits, 3> kArchitectures = {{
    {.name = "llama", .rope = isa::RopeStyle::kGptj, .has_qk_norm = false},
    {.name = "qwen2", .rope = isa::RopeStyle::kNeox, .has_qk_norm = false},
    {.name = "qwen3", .rope = isa::RopeStyle::kNeox, .has_qk_norm = true},
}};

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
