// The hyper-parameters of a mixture of experts.
#pragma once

#include "base/result.h"
#include "model/architecture/architectures.h"
#include "model/architecture/keys.h"
#include "model/architecture/shape.h"

namespace tg::model {

// count is 0 if the model has none. REQUIRES: layers and ffn of `shape` are read. Errors as
// read_shape.
Result<ExpertShape> read_experts(const gguf::File& file, const Keys& keys,
                                 const DecoderTraits& traits, const DecoderShape& shape);

}  // namespace tg::model
