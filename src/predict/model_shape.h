// What a model costs per token, read from the integers of its config.json by the names that
// published configurations share, so that a model of a family nobody has imported yet can still be
// predicted. Where a program exists, shape_of() takes the same numbers from its cost matrix.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "predict/device_spec.h"
#include "unit/cost_matrix.h"

namespace tg::predict {

// How weights are stored where a configuration says so by itself.
enum class StoredAs : u8 { kUnstated, kFp8, kFp4, kInt4, kMxFp4 };

struct ModelShape {
  i64 layers = 0;
  i64 hidden = 0;
  i64 kv_heads = 1;          // how many ways keys and values can be split
  i64 full_layers = 0;       // attention layers that see all keys
  i64 window_layers = 0;     // ... the last `window`
  i64 window = 0;            // keys; 0: none
  i64 recurrent_layers = 0;  // layers with a state in place of keys
  f64 state_bytes = 0;       // of all recurrent layers, per sequence
  i64 experts = 0;           // per expert layer; 0: none
  i64 experts_active = 0;    // of them, per token
  i64 expert_layers = 0;
  f64 expert_parameters = 0;  // of one expert in one layer
  f64 dense_parameters = 0;   // of linears that every token passes, logits aside
  f64 head_parameters = 0;    // of the logits
  f64 kv_elements = 0;        // per key and attention layer
  f64 decode_pair_flops = 0;  // per attended pair and layer, one query at a time
  f64 prompt_pair_flops = 0;  // ... many queries at a time
  i64 selected_keys = 0;      // keys chosen per query; 0: all of them
  f64 index_elements = 0;     // read per key to choose them
  bool is_latent = false;     // keys and values are one latent vector: no split by heads
  bool has_draft_layers = false;
  StoredAs stored_as = StoredAs::kUnstated;
  bool is_attention_wide = false;  // attention stays in 16 bits whatever the rest is stored in

  f64 parameters() const;
  f64 active_parameters() const;
  // Equal for models that no integer above tells apart.
  std::string key() const;
};

// kInvalid or kNotFound naming `file`, key and value for a needed key that is absent or out of
// range; kCorrupt for text that is not a JSON object.
Result<ModelShape> parse_model_shape(std::string_view text, std::string_view file);
Result<ModelShape> read_model_shape(const std::string& path);

// Of a program whose weights are stored in `weight_bytes` bytes an element. A cost matrix does not
// state layers and hidden width, which set the cost of communication. REQUIRES: weight_bytes > 0,
// layers > 0, hidden > 0.
struct ProgramFacts {
  f64 weight_bytes = 2;
  f64 kv_bytes = 2;
  i64 layers = 0;
  i64 hidden = 0;
  i64 kv_heads = 1;
};
ModelShape shape_of(const unit::CostMatrix& cost, const ProgramFacts& facts);

}  // namespace tg::predict
