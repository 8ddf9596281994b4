// Divides what a step cost among the sequences that shared it (standard-token.md §4).
#pragma once

#include <vector>

#include "engine/run/batch.h"
#include "unit/actual.h"

namespace tg::engine {

class Attribution {
 public:
  // The matrix must outlive the object.
  Attribution(const unit::CostMatrix& matrix, i64 sequences_max);

  // Before the step is committed: the share of each part, in the parts' order; they sum to the
  // step's whole work and wall time. kLimit if the matrix overflows. Distinct experts are the
  // expected number for the step's tokens, as the executor does not report the measured one.
  Result<std::span<const unit::StepShare>> share(const SequenceQueue& queue,
                                                 std::span<const BatchPart> parts, i64 wall_ns);

 private:
  void expect_experts(i64 tokens);

  const unit::CostMatrix& matrix_;
  std::vector<unit::SequenceStep> steps_;
  std::vector<unit::StepShare> shares_;
  std::vector<u64> expert_hits_;
};

}  // namespace tg::engine
