// The template of encoders for embeddings (BERT, Devlin et al. 2019): learned positions, attention
// in both directions within the step, layer norms behind each block, one pooled row per sequence.
#pragma once

#include "base/result.h"
#include "model/architecture/architectures.h"
#include "model/architecture/blueprint.h"
#include "model/gguf/reader.h"

namespace tg::model {

struct EncoderShape {
  i64 layers = 0;
  i64 width = 0;
  i64 heads = 0;  // divides width
  i64 ffn = 0;
  i64 vocabulary = 0;
  i64 context = 0;  // learned positions
  i64 types = 0;    // of tokens; every token is of the first
  f32 eps = 0;
  isa::Pooling pooling = isa::Pooling::kMean;
};

// Errors as read_shape. REQUIRES: traits.stack is kEncoder.
Result<EncoderShape> read_encoder_shape(const gguf::File& file, const DecoderTraits& traits);

// kNotFound naming a missing tensor, kInvalid naming one of wrong dimensions.
Result<Blueprint> draw_encoder(const gguf::File& file, const EncoderShape& shape,
                               const ImportOptions& options);

// One tensor that an encoder file holds. "blk.N." is not part of a layer's names.
struct EncoderTensor {
  std::string_view symbol;
  std::string_view tensor;
  std::vector<i64> dims;
};

std::vector<EncoderTensor> encoder_globals(const EncoderShape& shape);
std::vector<EncoderTensor> encoder_layer(const EncoderShape& shape);

}  // namespace tg::model
