// Actual work: what the seller's passes really ordered of the device, attributed to the requests
// that shared them (standard-token.md §4). Parts always sum to the whole.
#pragma once

#include <span>

#include "unit/cost_matrix.h"
#include "unit/standard_token.h"

namespace tg::unit {

// What one sequence owes of one step.
struct StepShare {
  u128 atto_st = 0;
  i64 wall_ns = 0;
};

// Splits a pass: each sequence bears its own tokens, rows and keys; the body's weight bytes (and
// experts) are split by new tokens, the head's by logit rows, wall time by the resulting atto-ST.
// Rounding goes by cumulative floors, so shares sum to the step exactly (asserted). kLimit on
// overflow. REQUIRES: shares.size() == sequences.size(), wall_ns >= 0; expert_hits as in
// evaluate().
Status attribute_step(const CostMatrix& matrix, std::span<const SequenceStep> sequences,
                      std::span<const u64> expert_hits, i64 wall_ns, std::span<StepShare> shares);

}  // namespace tg::unit
