// The hyper-parameters of a decoder, read from a file's metadata and checked against each other, so
// that the template which writes the program has no input left to doubt.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "model/architecture/architectures.h"
#include "model/architecture/rope_table.h"
#include "model/gguf/reader.h"

namespace tg::model {

struct DecoderShape {
  i64 layers = 0;
  i64 width = 0;  // d, of the residual stream
  i64 heads = 0;
  i64 kv_heads = 0;   // divides heads
  i64 key_dim = 0;    // of one head; may differ from width / heads
  i64 value_dim = 0;  // of one head
  i64 ffn = 0;
  i64 vocabulary = 0;
  i64 context = 0;
  i64 window = 0;  // of attention, the query included; 0: unbounded
  f32 eps = 0;
  f32 attention_scale = 0;
  i64 rotated = 0;  // elements of a head that rope turns; even
  RopeTable rope;
};

// Reads `<architecture>.*`; the vocabulary's size is the rows of token_embd.weight. kInvalid naming
// the key and its value, kNotFound for what is missing, kUnsupported for settings that would change
// the result and that the template does not know.
Result<DecoderShape> read_shape(const gguf::File& file, const DecoderTraits& traits);

}  // namespace tg::model
