// What `route` means for one token: which experts, with which weights. A pure function in f32 or
// f64; a router elsewhere is compared with it.
#pragma once

#include <span>
#include <vector>

#include "isa/opcode.h"

namespace tg::isa {

struct RouteShape {
  RouteScore score = RouteScore::kSoftmax;
  i64 k = 1;
  i64 groups = 1;
  i64 topk_groups = 1;
  GroupScore group_score = GroupScore::kMax;
  bool renorm = false;
  f32 scale = 1.0f;
};

template <typename F>
struct Routed {
  std::vector<i32> experts;  // [k], largest choice value first, ties to the lower id
  std::vector<F> weights;    // [k]
};

// `bias` is empty or [E] and takes part in the choice only. A group with one expert scores by it
// also under top2. Weights that sum to zero stay zero under renorm. Nothing is chosen (k rows of
// nothing) if a choice value or a weight is NaN.
// REQUIRES: groups divide E; k experts exist in topk_groups groups.
template <typename F>
Routed<F> route_row(const RouteShape& shape, std::span<const f64> logits, std::span<const F> bias);

extern template Routed<f32> route_row<f32>(const RouteShape&, std::span<const f64>,
                                           std::span<const f32>);
extern template Routed<f64> route_row<f64>(const RouteShape&, std::span<const f64>,
                                           std::span<const f64>);

}  // namespace tg::isa
