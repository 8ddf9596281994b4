// What the host checks of a backend before it trusts it with a program: that capability rows cover
// every op (R6: no silent fallback), and that a plan's segments are a legal order of all ops.
#pragma once

#include <span>

#include "backend/abi.h"
#include "base/result.h"
#include "isa/program.h"

namespace tg::backend {

struct CoverageLimits {
  i64 tokens = 0;
  i64 context = 0;
};

// kUnsupported, naming the first op that no row covers.
Status check_coverage(const isa::Program& program, const isa::FlatProgram& flat,
                      std::span<const tg_row> rows, const CoverageLimits& limits);

// Each op in exactly one segment, after the ops whose results it reads and in program order with
// the ops on the same cache layer: which makes every segment convex.
Status check_segments(const isa::FlatProgram& flat, std::span<const tg_segment> segments);

}  // namespace tg::backend
