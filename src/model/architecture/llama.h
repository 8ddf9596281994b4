// The template of the Llama family: pre-norm decoder layers of grouped-query attention with rope
// and a gated feed-forward block (Touvron et al. 2023), optional biases and per-head q/k norms,
// untied or tied head. It turns a shape and a file's tensors into program text (isa.md §8).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "isa/dtype.h"
#include "isa/program.h"
#include "model/architecture/architectures.h"
#include "model/architecture/shape.h"
#include "model/gguf/reader.h"

namespace tg::model {

// What the importer, not the file, decides about a program. Bounds of context: 0 means the model's.
struct ImportOptions {
  bool activations_bf16 = false;  // f32 otherwise
  isa::DType kv_format = isa::DType::kF16;
  u32 kv_page_tokens = 16;
  isa::Bounds bounds = {.tokens = 8'192, .sequences = 256, .rows = 256, .context = 0};
};

// One weight symbol of the text and the tensors it stands for, by layer. Borrows the file.
struct Binding {
  std::string symbol;  // without the '$'
  bool is_layered = false;
  std::vector<const gguf::Tensor*> tensors;
};

struct Blueprint {
  std::string text;
  std::vector<Binding> bindings;
};

// kNotFound naming a missing tensor, kInvalid naming one of wrong dimensions.
Result<Blueprint> draw_llama(const gguf::File& file, const DecoderTraits& traits,
                             const DecoderShape& shape, const ImportOptions& options);

}  // namespace tg::model
