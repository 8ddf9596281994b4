// Nominal work of a request: what is billed (standard-token.md §2). A closed form of the cost
// matrix and the request's integers, so that a buyer recomputes it from a receipt without weights.
#pragma once

#include <span>

#include "unit/cost_matrix.h"
#include "unit/standard_token.h"

namespace tg::unit {

inline constexpr i64 kPrefillChunk =
    2'048;  // Tokens that nominally share one read of the weights in prefill.
inline constexpr i64 kDecodeBatch = 32;          // Sequences that nominally share it in decode.
inline constexpr i64 kTokensMax = i64{1} << 32;  // Of a prompt or an output; beyond any context.

// What a request is for the standard. Tokens only; one entry of `outputs` per choice.
struct RequestShape {
  i64 prompt = 0;                // P
  i64 cached = 0;                // H <= P, served from a prefix cache that the contract recognises
  std::span<const i64> outputs;  // O of each choice; choices share one prefill
  bool embedding = false;        // No logits: R = 0 everywhere, outputs must be empty.
};

// Work in units of 2^-31 atto-ST: 1/2,048 of a weight byte and the 2^-20 of expert counts stay
// exact.
struct NominalWork {
  NanoSt total;  // Rounded once, half to even.
  NanoSt input;  // Prefill rounded; output is the rest, so that parts sum to the whole.
  NanoSt output;
};

// The same before any rounding, in units of 2^-31 atto-ST: what rates are made of.
struct ExactWork {
  u128 input = 0;
  u128 output = 0;
};
inline constexpr u32 kExactWorkBits = 31;  // 2^11 of the prefill share times 2^20 of expert counts
Result<ExactWork> exact_work(const CostMatrix& matrix, const RequestShape& request);

// kInvalid for impossible integers (cached > prompt, negative, more than kTokensMax), kLimit on
// overflow.
Result<NominalWork> nominal_work(const CostMatrix& matrix, const RequestShape& request);

// Expected distinct experts U = E(1-(1-k/E)^s) hit by s tokens, in units of 2^-20, rounded half to
// even. REQUIRES: 0 < active <= experts <= 65,536, tokens >= 0.
u64 expected_experts_q20(u32 experts, u32 active, i64 tokens);

}  // namespace tg::unit
