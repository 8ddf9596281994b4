// Mixture of experts besides the products: choosing experts, ordering rows by expert, mixing.
#pragma once

#include "backend/cpu/plan.h"
#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

struct RouteArgs {
  const OpAttributes& attributes;
  Tensor logits;    // [tokens, experts]
  const f32* bias;  // [experts] or null; takes part in the choice only
  f32* weights;     // [tokens, k]
  i32* ids;         // [tokens, k] or null
  i32* experts;     // [tokens, k]
  f64* scratch;     // route_scratch(experts) per share
};

constexpr i64 route_scratch(i64 experts) {
  return 3 * experts;
}

// In f64, so that only what the logits themselves leave open is decided by rounding. Logits that
// are not finite choose experts 0 .. k-1 with weights that are NaN.
void route(const RouteArgs& args, i32 part, i32 parts);

// Orders the rows of `perm`, whose experts are set, by expert; rows of one expert stay in order.
struct OrderArgs {
  PermLayout layout;
  i32* perm;
  u32* hits;  // becomes how many experts have any
};
// REQUIRES: parts is 1.
void order_rows(const OrderArgs& args, i32 part, i32 parts);

// out[t] = sum over j of w[t, j] * y[t * k + j], in order of j.
struct CombineArgs {
  Tensor y, w, out;
};
void combine(const CombineArgs& args, i32 part, i32 parts);

}  // namespace tg::backend::cpu
