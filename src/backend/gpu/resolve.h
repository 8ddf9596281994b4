// Launches of a plan with the addresses of one binding.
#pragma once

#include "backend/abi.h"
#include "backend/gpu/lower.h"

namespace tg::backend::gpu {

// Every kWeight and kKv argument becomes an offset in its arena, every kParams one in the block,
// every kParamIndex a number. kInvalid if the bindings lack a weight or cache that the program
// reads.
Result<std::vector<Launch>> resolve(const Lowered& program, const tg_bindings& bindings);

// What the host reads of the output after a step.
struct Range {
  u64 offset = 0, bytes = 0;
};
// Result i of the function, of those of `lowered.plan.flat.results`, then the counts of experts.
std::vector<Range> output_ranges(const Lowered& program, const StepSizes& sizes);
void output_ranges(const Lowered& program, const StepSizes& sizes, std::vector<Range>& out);

}  // namespace tg::backend::gpu
