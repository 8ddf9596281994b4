// The Executor over any backend that speaks the C ABI: places weights, cache and buffers, binds the
// plan to them once, and turns each checked StepBatch into a parameter block and a run().
#pragma once

#include <memory>

#include "backend/device.h"
#include "backend/executor.h"

namespace tg::backend {

struct Target {
  Library library;
  u32 device = 0;
};

// make_executor() on a chosen device. `program` and `weights` must outlive the executor.
Result<std::unique_ptr<Executor>> bind_executor(const Target& target,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits,
                                                const PackedFile& packed = {});

}  // namespace tg::backend
