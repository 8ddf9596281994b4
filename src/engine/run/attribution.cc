#include "engine/run/attribution.h"

#include "unit/nominal.h"

namespace tg::engine {

Attribution::Attribution(const unit::CostMatrix& matrix, i64 sequences_max)
    : matrix_(matrix), expert_hits_(matrix.experts.size()) {
  steps_.reserve(static_cast<std::size_t>(sequences_max));
  shares_.reserve(static_cast<std::size_t>(sequences_max));
}

Result<std::span<const unit::StepShare>> Attribution::share(const SequenceQueue& queue,
                                                            std::span<const BatchPart> parts,
                                                            i64 wall_ns) {
  steps_.clear();
  i64 tokens = 0;
  for (const BatchPart& part : parts) {
    steps_.push_back({.cached = queue.at(part.sequence).computed,
                      .fresh = part.tokens,
                      .rows = part.row >= 0 ? 1 : 0});
    tokens += part.tokens;
  }
  expect_experts(tokens);
  shares_.assign(parts.size(), {});
  TG_TRY(unit::attribute_step(matrix_, steps_, expert_hits_, wall_ns, shares_));
  return std::span<const unit::StepShare>(shares_);
}

void Attribution::expect_experts(i64 tokens) {
  constexpr u64 kHalfQ20 = u64{1} << 19;
  for (std::size_t i = 0; i < expert_hits_.size(); ++i) {
    const unit::ExpertCost& cost = matrix_.experts[i];
    u64 per_layer_q20 = unit::expected_experts_q20(cost.experts, cost.active, tokens);
    expert_hits_[i] = (per_layer_q20 * cost.layers + kHalfQ20) >> 20;
  }
}

}  // namespace tg::engine
