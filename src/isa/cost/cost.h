// Derives a program's cost matrix: the counters of isa.md §4, summed over the instructions as
// linear forms in the step's integers. No weights are read; no loop is unrolled.
#pragma once

#include <span>

#include "isa/program.h"

namespace tg::isa {

// Proof that a program passed every rule but V17: only the verifier makes one, so that nothing
// unverified can be costed.
class RulesPassed {
 private:
  RulesPassed() = default;
  friend Result<VerifiedProgram> verify(Program program);
};

// The matrix of one of the program's functions. kLimit if a counter exceeds 64 bits. Windows are
// merged and sorted by value, 0 (unbounded) first, then by kind; experts by experts, active, bytes.
Result<unit::CostMatrix> derive_cost(const Program& program, const Function& function,
                                     RulesPassed proof);

}  // namespace tg::isa
