// Shapes of synthetic models: the published ones, and tiny ones of each family for tests.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "model/random_blocks.h"

namespace tg::model {

struct SynthLatent {
  i64 query_rank = 0;  // 0: none
  i64 rank = 0;        // 0: attention is not latent
  i64 value_dim = 0;
};

struct SynthExperts {
  i64 count = 0;
  i64 used = 0;
  i64 ffn = 0;
  i64 shared = 0;
  i64 dense_layers = 0;
  i64 groups = 1;
  i64 groups_used = 1;
  u32 gate = 0;  // the container's number of the gating function; 0: not said
  bool renormalizes = false;
  f32 scale = 0;          // 0: not said
  bool has_bias = false;  // on selection
};

struct SynthYarn {
  f32 factor = 0;  // 0: none
  i64 original_context = 0;
  f32 log_multiplier = 0;  // 0: not said
};

struct SynthShape {
  std::string_view name;
  std::string_view architecture;
  i64 layers = 0;
  i64 width = 0;
  i64 heads = 0;
  i64 kv_heads = 0;
  i64 head_dim = 0;
  i64 ffn = 0;
  i64 vocabulary = 0;
  i64 context = 0;
  i64 window = 0;  // 0: unbounded
  f32 rope_base = 10'000;
  f32 eps = 1e-5f;
  bool is_tied = false;          // no output.weight
  bool has_banded_rope = false;  // the frequency scaling of Llama 3.1
  bool has_qkv_biases = false;   // where they are optional
  i64 rotated = 0;               // elements of a head; 0: all
  f32 linear_rope_factor = 0;    // 0: none
  i64 longrope_original = 0;     // context; > 0: with the tensors of LongRoPE
  f32 score_cap = 0;
  f32 logit_cap = 0;
  u32 pooling = 0;  // of encoders; the container's number
  SynthYarn yarn;
  SynthLatent latent;
  SynthExperts experts;
  f32 deviation = kRandomDeviation;  // of weights
};

std::span<const SynthShape> synth_shapes();
// kNotFound, naming the known shapes.
Result<SynthShape> find_synth_shape(std::string_view name);

}  // namespace tg::model
