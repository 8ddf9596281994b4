// Tensors that a GGUF file holds in another shape than a checkpoint: experts in one piece, latent
// attention's up-projection in two, gates apart from values, norms with their 1. Bytes move,
// numbers do not change but for that 1.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/huggingface/layout.h"

namespace tg::checkpoint {

// f16 and bf16 as f32; other codecs as they are.
Stored widened(Stored stored);

// The elements plus one, in f32. REQUIRES: a float codec.
Stored plus_one(const Stored& stored);

// [N,K] of every expert as [E,N,K]. kInvalid naming the expert that differs from the first.
// REQUIRES: at least one.
Result<Stored> stacked(const std::vector<Stored>& experts);

struct LatentHeads {
  i64 heads = 0;
  i64 nope = 0;   // elements of a key's part without rope
  i64 value = 0;  // elements of a value
};

struct KeyValueUp {
  Stored key;    // attn_k_b: [H,rank,nope], each head transposed
  Stored value;  // attn_v_b: [H,value,rank]
};

// From kv_b_proj [H*(nope+value),rank]. kInvalid if the dimensions do not fit, kUnsupported for a
// codec whose blocks cannot be transposed exactly.
Result<KeyValueUp> split_key_value_up(const Stored& stored, const LatentHeads& heads);

// Even rows and odd rows of [E,2N,..] (also of [E,2N], whose rows are single elements).
// REQUIRES: rank 2 or 3; kInvalid if 2N is odd.
Result<std::pair<Stored, Stored>> split_interleaved(const Stored& stored);

}  // namespace tg::checkpoint
