// Derives a program's cost matrix: the counters of isa.md §4, summed over the instructions as
// linear forms in the step's integers. No weights are read; no loop is unrolled.
#pragma once

#include <span>

#include "isa/program.h"

namespace tg::isa {

// kLimit if a counter exceeds 64 bits. Windows are merged and sorted by value, 0 (unbounded) first.
// REQUIRES: `program` passed every rule but V17.
Result<unit::CostMatrix> derive_cost(const Program& program);

}  // namespace tg::isa
