// One function of a program on a device: its plan, what the plan needs, and how its counts of
// experts are billed.
#pragma once

#include <vector>

#include "backend/device.h"
#include "backend/executor.h"

namespace tg::backend {

struct Entry {
  isa::FlatProgram flat;
  OwnedPlan plan;
  OwnedExec exec;  // once bound; freed before the plan
  tg_plan_info info{};
  u32 segments = 0;
  u64 workspace_bytes = 0;
  // Line of main's cost matrix for each route: a position in `experts`, or past its end.
  std::vector<std::size_t> route_lines;
};

// Checks capability rows, plans and checks the segments. kUnsupported, naming the op, if the device
// does not cover one (R6).
Result<Entry> plan_entry(const Device& device, const isa::VerifiedProgram& program,
                         const isa::Function& function, const ExecutorLimits& limits);

}  // namespace tg::backend
