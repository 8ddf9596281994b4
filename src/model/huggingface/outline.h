// The tensors that a checkpoint of this config.json would hold, without them: enough to build, cost
// and price the program of a published model from its configuration alone.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/gguf/writer.h"
#include "model/huggingface/config.h"
#include "model/huggingface/families.h"
#include "model/huggingface/metadata.h"

namespace tg::checkpoint {

// Names, codecs and dimensions under their GGUF names. Matrices are of the stated type (`dtype` or
// `torch_dtype`, bf16 if neither), or of the codec that quantization_config says for those it
// converts; norms, biases and routers are f32, as translate.h makes them and GGUF files hold them,
// so that a file and its configuration cost the same. `metadata` is made of the same configuration.
// kUnsupported naming a type or method, otherwise as the readers of architecture/.
Result<std::vector<gguf::TensorDecl>> outline(const Config& config, const Family& family,
                                              const Metadata& metadata);

}  // namespace tg::checkpoint
