// The params operand of `logits` and `sample` (isa.md §4.7): how one row of logits becomes a token.
// The order is normative: bias, repetition / presence / frequency penalties, grammar mask,
// temperature, top-k, top-p, min-p.
#pragma once

#include <utility>
#include <vector>

#include "base/types.h"

namespace tg::isa {

struct SamplingParams {
  f32 temperature = 1.0f;         // 0: greedy, ties to the lowest id.
  i32 top_k = 0;                  // 0: off.
  f32 top_p = 1.0f;               // 1: off.
  f32 min_p = 0.0f;               // 0: off.
  f32 repetition_penalty = 1.0f;  // 1: off.
  f32 presence_penalty = 0.0f;
  f32 frequency_penalty = 0.0f;
  u64 seed = 0;       // With the position and the token id, the whole key of the Philox draw.
  i32 logprobs = -1;  // -1: none; n >= 0: the token's and the n most likely ones'.
  std::vector<std::pair<i32, f32>> logit_bias;
};

}  // namespace tg::isa
