#include "backend/gpu/resolve.h"

#include <algorithm>

#include "backend/gpu/lowering.h"
#include "base/assert.h"

namespace tg::backend::gpu {

namespace {

template <typename Place>
Result<u64> offset_of(std::span<const Place> places, const Arg& arg, const char* what) {
  for (const Place& place : places) {
    if (place.symbol == arg.symbol && place.layer == arg.layer) return place.offset;
  }
  return Error{Code::kInvalid, std::string("bind: no place for ") + what + " " +
                                   std::to_string(arg.symbol) + " of layer " +
                                   std::to_string(arg.layer)};
}

u64 param_offset(u32 array, const tg_bindings& b) {
  switch (array) {
    case kParamBlock: return 0;
    case kParamIds: return b.layout.ids;
    case kParamPositions: return b.layout.pos;
    case kParamRows: return b.layout.rows;
    case kParamCu: return b.layout.cu;
    case kParamPast: return b.layout.past;
    case kParamPageBegin: return b.layout.page_begin;
    case kParamPages: return b.layout.pages;
    case kParamSlots: return b.layout.slots;
    case kParamTree: return b.tree;
    case kParamSamples: return b.samples;
    case kParamLists: return b.lists;
    default: TG_ASSERT(false);
  }
}

Status resolve(Arg& arg, const tg_bindings& b) {
  switch (arg.kind) {
    case ArgKind::kWeight: {
      std::span<const tg_wplace> places(b.weight_places, b.n_weights);
      TG_ASSIGN(u64 offset, offset_of(places, arg, "weight"));
      arg.value += offset;
      return {};
    }
    case ArgKind::kKv: {
      std::span<const tg_kvplace> places(b.kv_places, b.n_kv);
      TG_ASSIGN(u64 offset, offset_of(places, arg, "cache"));
      arg.value += offset;
      return {};
    }
    case ArgKind::kParams: arg.value += param_offset(arg.symbol, b); return {};
    case ArgKind::kParamIndex:
      arg.value = param_offset(arg.symbol, b) / sizeof(i32);
      arg.kind = ArgKind::kInt;
      return {};
    default: return {};
  }
}

}  // namespace

Result<std::vector<Launch>> resolve(const Lowered& program, const tg_bindings& bindings) {
  std::vector<Launch> launches = program.launches;
  for (Launch& launch : launches) {
    for (Arg& arg : launch.args) TG_TRY(resolve(arg, bindings));
  }
  return launches;
}

void output_ranges(const Lowered& program, const StepSizes& sizes, std::vector<Range>& out) {
  out.clear();
  const cpu::Plan& plan = program.plan;
  for (u32 value : plan.flat.results) {
    Matrix m = matrix_of(plan.flat.values[value]);
    out.push_back({.offset = static_cast<u64>(plan.places[value].offset),
                   .bytes = static_cast<u64>(evaluate(m.rows, sizes) * m.columns * 4)});
  }
  if (plan.routes > 0) {
    out.push_back({.offset = static_cast<u64>(plan.routes_offset),
                   .bytes = static_cast<u64>(plan.routes * 4)});
  }
}

std::vector<Range> output_ranges(const Lowered& program, const StepSizes& sizes) {
  std::vector<Range> out;
  output_ranges(program, sizes, out);
  return out;
}

}  // namespace tg::backend::gpu
