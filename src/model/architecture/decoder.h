// The template of decoders: layers of attention with rope and a gated feed-forward block, dense or
// of experts, around a residual stream (Touvron et al. 2023 and what followed). It turns a shape
// and a file's tensors into program text (isa.md §8).
#pragma once

#include "base/result.h"
#include "model/architecture/architectures.h"
#include "model/architecture/blueprint.h"
#include "model/architecture/shape.h"
#include "model/gguf/reader.h"

namespace tg::model {

// kNotFound naming a missing tensor, kInvalid naming one of wrong dimensions. REQUIRES: `shape` was
// read from `file` by `traits`.
Result<Blueprint> draw_decoder(const gguf::File& file, const DecoderTraits& traits,
                               const DecoderShape& shape, const ImportOptions& options);

}  // namespace tg::model
