// A checkpoint's tensors under the names, shapes and codecs that a GGUF file of the same model
// would hold.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/huggingface/config.h"
#include "model/huggingface/families.h"
#include "model/huggingface/layout.h"

namespace tg::checkpoint {

struct NamedTensor {
  std::string name;  // "blk.0.attn_q.weight"
  Stored stored;     // borrows the checkpoint's tensors where nothing had to be derived
};

struct Translation {
  std::vector<NamedTensor> tensors;  // sorted by name
  std::vector<std::string> unused;   // names of the checkpoint that the family does not know
};

// kNotFound, kInvalid or kUnsupported naming the checkpoint's tensor.
Result<Translation> translate(
    const Config& config, const Family& family,
    const std::map<std::string_view, const safetensors::Tensor*>& tensors);

}  // namespace tg::checkpoint
