#include "backend/gpu/lower.h"

#include <algorithm>

#include "backend/cpu/tensor.h"
#include "backend/gpu/lowering.h"
#include "base/assert.h"

namespace tg::backend::gpu {

namespace {

using isa::Opcode;

// Constants first, each 64-byte aligned; the offsets of all.
std::vector<u64> place_constants(Lowered& out) {
  std::vector<u64> offsets;
  for (const std::vector<f32>& values : out.plan.constants) {
    offsets.push_back(out.tables.size());
    const u8* bytes = reinterpret_cast<const u8*>(values.data());
    out.tables.insert(out.tables.end(), bytes, bytes + values.size() * sizeof(f32));
    out.tables.resize(static_cast<std::size_t>(aligned(std::ssize(out.tables))));
  }
  out.tables.resize(std::max<std::size_t>(out.tables.size(), kAlignment));
  return offsets;
}

}  // namespace

Result<Lowered> lower(std::span<const u8> program, const char* function,
                      const cpu::PlanLimits& limits, const Traits& traits) {
  TG_ASSIGN(cpu::Plan plan, cpu::make_plan(program, function, limits));
  Lowered out(std::move(plan), traits);
  std::vector<u64> constants = place_constants(out);
  i64 workspace = 0;
  for (std::size_t i = 0; i < out.plan.flat.code.size(); ++i) {
    out.first.push_back(static_cast<u32>(out.launches.size()));
    if (out.plan.ops[i].is_alias) continue;
    Lowering op(out, constants, i);
    TG_TRY(op.run());
    out.plan.segments[i].workspace = static_cast<u64>(op.workspace());
    workspace = std::max(workspace, op.workspace());
  }
  out.first.push_back(static_cast<u32>(out.launches.size()));
  out.plan.workspace_bytes = workspace;
  for (const Launch& launch : out.launches) out.variants.insert(launch.variant);
  return out;
}

}  // namespace tg::backend::gpu
