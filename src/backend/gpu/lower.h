// A program's plan as launches. What depends on the device is in Traits; the rest is the program's
// alone, so that two devices of equal traits get the same list.
#pragma once

#include <set>
#include <vector>

#include "backend/cpu/plan.h"
#include "backend/gpu/launch.h"

namespace tg::backend::gpu {

struct Traits {
  bool int_dot = false;          // multiplies bytes four at a time
  bool attention_tiles = false;  // has kernels of its own for attention of many new tokens
};

struct Lowered {
  Lowered(cpu::Plan made, const Traits& of) : traits(of), plan(std::move(made)) {}

  Traits traits;
  cpu::Plan plan;  // places of values; its workspace and segments are ours
  std::vector<Launch> launches;
  // Launches of segment i are [first[i], first[i + 1]); a segment is one op of the program.
  std::vector<u32> first;
  std::vector<u8> tables;  // constants and `ew` programs, for device memory
  std::set<Variant> variants;
};

// kUnsupported, naming the op, for what no kernel does.
Result<Lowered> lower(std::span<const u8> program, const char* function,
                      const cpu::PlanLimits& limits, const Traits& traits);

// Routes choose among at most so many experts.
inline constexpr i64 kExpertsMax = 512;
inline constexpr i64 kEwOperandsMax = 4;

}  // namespace tg::backend::gpu
