// What importing decides and makes: options in, program text and the tensors behind its weight
// symbols out.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "isa/dtype.h"
#include "isa/program.h"
#include "model/gguf/reader.h"

namespace tg::model {

// What the importer, not the file, decides about a program. Bounds of context: 0 means the model's.
struct ImportOptions {
  bool activations_bf16 = false;  // f32 otherwise
  // Products round their activations to int8 (xq=i8/32) with weights of small integers and to bf16
  // (xq=bf16) with bf16 ones, as every engine for such files does, and are priced as what they are.
  // `exact`: nothing is rounded.
  bool exact = false;
  isa::DType kv_format = isa::DType::kF16;
  u32 kv_page_tokens = 16;
  isa::Bounds bounds = {.tokens = 8'192, .sequences = 256, .rows = 256, .context = 0};
};

// One weight symbol of the text and the tensors it stands for, by layer. Borrows the file, or the
// blueprint's own tensors.
struct Binding {
  std::string symbol;  // without the '$'
  bool is_layered = false;
  std::vector<const gguf::Tensor*> tensors;
};

// Parts of the file's tensors that serve as tensors themselves. Their data is the file's.
using DerivedTensors = std::vector<std::unique_ptr<gguf::Tensor>>;

// The attributes of a product with a weight of this codec: "xq=i8/32", "xq=bf16", or "" where
// activations stay as they are.
std::string_view product_attributes(isa::DType weight, const ImportOptions& options);

struct Blueprint {
  std::string text;
  std::vector<Binding> bindings;
  DerivedTensors derived;
};

}  // namespace tg::model
