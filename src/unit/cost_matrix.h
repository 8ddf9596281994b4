// The cost matrix of a program: how its counters grow with the integers of a step. Derived by
// isa/cost from the instructions, stored in the program, and all a buyer needs to price a request
// (isa.md §5).
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "unit/counters.h"

namespace tg::unit {

// Which (query, key) pairs an attention layer attends, for n new tokens after c cached keys.
//   kCausal    every key up to the query, or the last `window` of them, itself included: A_W, K_W
//   kFull      all c+n keys for each query: n(c+n) pairs, c+n keys
//   kSelected  at most `window` chosen keys: A_W pairs, min(c+n, A_W) keys
//   kTree      ancestors in a tree of proposals: the pairs the host states, c+n keys
//   kDense     both directions within the prompt, no cache: (c+n)^2 - c^2 pairs, so that chunks of
//   a
//              prompt add up to the whole; with a window |i-j| < window
enum class PairKind : u8 { kCausal, kFull, kSelected, kTree, kDense, kCount };

// Attention layers that attend the same pairs. window 0 means unbounded.
struct WindowCost {
  i64 window = 0;
  u64 attn_flops_per_pair = 0;
  u64 ew_flops_per_pair = 0;
  u64 kv_rd_bytes_per_key = 0;
  PairKind kind = PairKind::kCausal;
  friend bool operator==(const WindowCost&, const WindowCost&) = default;
};

// Mixture-of-experts layers alike in shape: each pass reads `bytes_per_expert` for every distinct
// expert hit.
struct ExpertCost {
  u32 experts = 0;
  u32 active = 0;
  u32 layers = 0;
  u64 bytes_per_expert = 0;  // per layer
  friend bool operator==(const ExpertCost&, const ExpertCost&) = default;
};

// counters(step) = per_pass + T*per_token + R*per_row + S*per_sequence
//                + sum over windows of A_W*(attn, ew) and K_W*kv_rd + experts hit * bytes.
struct CostMatrix {
  Counters per_pass{};  // Constant of a pass; its w_bytes are the body's weights.
  Counters per_token{};
  Counters per_row{};
  Counters per_sequence{};
  u64 head_bytes = 0;  // w_bytes of linears whose rows are logit rows; read only if R > 0.
  std::vector<WindowCost> windows;
  std::vector<ExpertCost> experts;
  friend bool operator==(const CostMatrix&, const CostMatrix&) = default;
};

// One sequence's part of a step: keys cached before it, new tokens in it, logit rows asked of it.
struct SequenceStep {
  i64 cached = 0;
  i64 fresh = 0;
  i64 rows = 0;
  i64 tree_pairs = -1;  // pairs of a tree of proposals; -1: a chain, which attends as kCausal does
};

// Attended (query, key) pairs A_W of `fresh` queries after `cached` keys; window 0 is unbounded.
u128 attended_pairs(i64 cached, i64 fresh, i64 window);
// Distinct keys K_W read by them.
i64 distinct_keys(i64 cached, i64 fresh, i64 window);

// Pairs and keys of one class of layers for one sequence.
u128 attended_pairs(const WindowCost& cost, const SequenceStep& sequence);
i64 distinct_keys(const WindowCost& cost, const SequenceStep& sequence);

// What one sequence adds to a pass by itself: its tokens, rows and keys, but no weight bytes, which
// passes share.
Result<Counters> evaluate_own(const CostMatrix& matrix, const SequenceStep& sequence);

// The counters of one pass over packed sequences, with `expert_hits[i]` distinct experts hit summed
// over the layers of matrix.experts[i] (empty if the program has none). kLimit if a counter would
// overflow u64. REQUIRES: non-negative integers; expert_hits.size() == matrix.experts.size().
Result<Counters> evaluate(const CostMatrix& matrix, std::span<const SequenceStep> sequences,
                          std::span<const u64> expert_hits);

}  // namespace tg::unit
