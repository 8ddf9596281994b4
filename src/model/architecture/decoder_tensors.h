// A decoder's tensors found in a file and its layers grouped into runs of equal make: each run
// becomes one `repeat`. Most files have one run; mixed quantisation and models whose first layers
// are dense have several.
#pragma once

#include <array>
#include <vector>

#include "base/result.h"
#include "model/architecture/blueprint.h"
#include "model/architecture/layer_roles.h"
#include "model/architecture/shape.h"
#include "model/architecture/weight_symbols.h"

namespace tg::model {

using LayerSlots = std::array<WeightSlot, kRoles>;

// Layers first..first+count-1, alike in codecs and optional tensors.
struct Run {
  i64 first = 0;
  i64 count = 0;
  LayerSlots slots;  // of the first layer; the others follow it by one ordinal each
};

struct DecoderTensors {
  WeightSymbols symbols;
  std::vector<Run> runs;
  WeightSlot embedding, final_norm, head, head_bias;
};

// kNotFound naming a missing tensor, kInvalid naming one of wrong dimensions.
Result<DecoderTensors> find_decoder_tensors(const gguf::File& file, const DecoderShape& shape,
                                            const DecoderTraits& traits);

// nullptr if it is missing and not required; otherwise as find_decoder_tensors.
Result<const gguf::Tensor*> find_tensor(const gguf::File& file, const std::string& name,
                                        const std::vector<i64>& dims, bool is_required);

// The ".w" lines of all symbols.
std::string weight_declarations(const WeightSymbols& symbols);
std::vector<Binding> bindings_of(const WeightSymbols& symbols);

}  // namespace tg::model
