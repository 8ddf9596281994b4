// The hyper-parameters of a model, read from a file's metadata and checked against each other, so
// that the templates which write programs have no input left to doubt.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "model/architecture/architectures.h"
#include "model/architecture/blueprint.h"
#include "model/architecture/rope_table.h"
#include "model/gguf/reader.h"

namespace tg::model {

// Metadata key: "neox" or "gptj", how the file's q and k rows are paired, instead of what files of
// the architecture usually hold.
inline constexpr std::string_view kRopeStyleKey = "tokengrid.rope_style";

// Latent attention: a head's key is `nope` numbers made from the latent row and `rotated` ones that
// all heads share.
struct LatentShape {
  i64 query_rank = 0;  // 0: queries are made from the layer's input directly
  i64 rank = 0;        // of the latent row
  i64 nope = 0;
  i64 rotated = 0;
  i64 value = 0;
};

struct ExpertShape {
  i64 count = 0;  // 0: none
  i64 used = 0;
  i64 ffn = 0;           // width of one expert
  i64 shared_ffn = 0;    // of the expert that every token takes; 0: none
  i64 dense_layers = 0;  // the first so many layers have no experts
  i64 groups = 1;
  i64 groups_used = 1;
  isa::RouteScore score = isa::RouteScore::kSoftmax;
  bool renormalizes = false;
  f32 scale = 1;
};

struct DecoderShape {
  i64 layers = 0;
  i64 width = 0;  // d, of the residual stream
  i64 heads = 0;
  i64 kv_heads = 0;   // divides heads
  i64 key_dim = 0;    // of one head; may differ from width / heads
  i64 value_dim = 0;  // of one head
  i64 ffn = 0;        // of dense layers
  i64 vocabulary = 0;
  i64 context = 0;
  i64 window = 0;         // of attention, the query included; 0: unbounded
  i64 window_period = 1;  // of so many layers the last has no window; 1: all have it
  f32 eps = 0;
  f32 attention_scale = 0;
  f32 attention_softcap = 0;  // 0: none
  f32 logit_softcap = 0;      // 0: none
  f32 embedding_scale = 1;
  i64 rotated = 0;  // elements of a head that rope turns; even
  isa::RopeStyle rope_style = isa::RopeStyle::kNeox;
  RopeTable rope;
  std::optional<RopeTable> local_rope;  // of layers with a window, if theirs differs
  LatentShape latent;                   // of AttentionKind::kLatent
  ExpertShape experts;

  bool is_windowed(i64 layer) const {
    return window > 0 && (window_period == 1 || layer % window_period < window_period - 1);
  }
  bool has_experts(i64 layer) const { return experts.count > 0 && layer >= experts.dense_layers; }
};

// Reads `<architecture>.*`; the vocabulary's size is the rows of token_embd.weight. kInvalid naming
// the key and its value, kNotFound for what is missing, kUnsupported for settings that would change
// the result and that the template does not know. REQUIRES: traits.stack is kDecoder.
Result<DecoderShape> read_shape(const gguf::File& file, const DecoderTraits& traits,
                                const ImportOptions& options = {});

// Rows of token_embd.weight, the vocabulary of any architecture.
Result<i64> read_vocabulary_size(const gguf::File& file);

}  // namespace tg::model
