#include "engine/run/attribution.h"

#include <algorithm>

#include "base/assert.h"
#include "unit/nominal.h"

namespace tg::engine {

Attribution::Attribution(const unit::CostMatrix& main, std::span<const unit::CostMatrix> entries,
                         i64 sequences_max)
    : main_(main), entries_(entries), expert_hits_(main.experts.size()) {
  for (const unit::CostMatrix& entry : entries) TG_ASSERT(entry.experts == main.experts);
  steps_.reserve(static_cast<std::size_t>(sequences_max));
  shares_.reserve(static_cast<std::size_t>(sequences_max));
}

Result<std::span<const unit::StepShare>> Attribution::share(std::span<const BatchPart> parts,
                                                            const RanStep& ran) {
  steps_.clear();
  i64 tokens = 0;
  for (const BatchPart& part : parts) {
    steps_.push_back({.cached = part.computed, .fresh = part.tokens, .rows = part.rows});
    tokens += part.tokens;
  }
  if (ran.expert_hits.empty()) {
    expect_experts(tokens);
  } else {
    TG_ASSERT(ran.expert_hits.size() == expert_hits_.size());
    std::copy(ran.expert_hits.begin(), ran.expert_hits.end(), expert_hits_.begin());
  }
  // An engine that was given main's matrix alone counts every step as main's.
  bool is_main = ran.entry == 0 || ran.entry > entries_.size();
  const unit::CostMatrix& matrix = is_main ? main_ : entries_[ran.entry - 1];
  shares_.assign(parts.size(), {});
  TG_TRY(unit::attribute_step(matrix, steps_, expert_hits_, ran.wall_ns, shares_));
  return std::span<const unit::StepShare>(shares_);
}

void Attribution::expect_experts(i64 tokens) {
  constexpr u64 kHalfQ20 = u64{1} << 19;
  for (std::size_t i = 0; i < expert_hits_.size(); ++i) {
    const unit::ExpertCost& cost = main_.experts[i];
    u64 per_layer_q20 = unit::expected_experts_q20(cost.experts, cost.active, tokens);
    expert_hits_[i] = (per_layer_q20 * cost.layers + kHalfQ20) >> 20;
  }
}

}  // namespace tg::engine
