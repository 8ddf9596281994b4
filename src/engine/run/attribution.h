// Divides what a step cost among the sequences that shared it (standard-token.md §4).
#pragma once

#include <span>
#include <vector>

#include "engine/run/batch.h"
#include "unit/actual.h"

namespace tg::engine {

// What the executor says of the step it ran.
struct RanStep {
  i64 wall_ns = 0;
  std::size_t entry = 0;  // 0 is main
  // Distinct experts hit, by line of main's matrix; empty: the expected number is taken.
  std::span<const u64> expert_hits;
};

class Attribution {
 public:
  // Of main and of the program's other entries, which must outlive the object. REQUIRES: the
  // entries' experts are main's.
  Attribution(const unit::CostMatrix& main, std::span<const unit::CostMatrix> entries,
              i64 sequences_max);

  // The share of each part, in the parts' order; they sum to the step's whole work and wall time.
  // kLimit if the matrix overflows.
  Result<std::span<const unit::StepShare>> share(std::span<const BatchPart> parts,
                                                 const RanStep& ran);

 private:
  void expect_experts(i64 tokens);

  const unit::CostMatrix& main_;
  std::span<const unit::CostMatrix> entries_;
  std::vector<unit::SequenceStep> steps_;
  std::vector<unit::StepShare> shares_;
  std::vector<u64> expert_hits_;
};

}  // namespace tg::engine
