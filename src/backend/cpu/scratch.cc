#include "backend/cpu/scratch.h"

#include <algorithm>

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/moe_ops.h"
#include "backend/cpu/sample_ops.h"
#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;

const isa::Type& operand(const Plan& plan, const isa::FlatInstruction& op, std::size_t i) {
  return plan.flat.values[op.in[i].index];
}

// Rows of activations rounded by xq, before the product reads them.
i64 rounded_bytes(const Plan& plan, const isa::FlatInstruction& op) {
  if (resolve_attributes(op).xq == isa::ActivationQuant::kNone) return 0;
  const isa::Type& x = operand(plan, op, 0);
  i64 elements = 1;
  for (const isa::Dim& dim : x.dims) {
    elements *= evaluate(dim, plan.limits.tokens, plan.limits.sequences, plan.limits.rows);
  }
  return aligned(elements * 4);
}

i64 columns(const Plan& plan, const isa::FlatInstruction& op, std::size_t i) {
  return operand(plan, op, i).dims.back().constant;
}

// Floats each share of a bmm with a weight needs; 0 for two activations.
i64 bmm_floats(const Plan& plan, const isa::FlatInstruction& op) {
  if (op.in[1].kind != isa::OperandKind::kWeight) return 0;
  const isa::Type& y = plan.flat.values[op.out[0]];
  return batched_scratch(columns(plan, op, 0), y.dims.back().constant);
}

}  // namespace

Scratch scratch_of(const Plan& plan, const isa::FlatInstruction& op) {
  Scratch out{.shares = plan.limits.threads};
  i64 words = 0;
  switch (op.op) {
    case Opcode::kLinear:
      out.shared = rounded_bytes(plan, op);
      words = linear_scratch(columns(plan, op, 0));
      break;
    case Opcode::kGroupedLinear:
      out.shared = rounded_bytes(plan, op);
      words = linear_scratch(columns(plan, op, 0)) + grouped_scratch(columns(plan, op, 0));
      break;
    case Opcode::kBmm: words = bmm_floats(plan, op); break;
    case Opcode::kAttn:
      if (resolve_attributes(op).mask == isa::Mask::kTree) words = plan.limits.tokens;
      break;
    case Opcode::kRoute: words = 2 * route_scratch(columns(plan, op, 0)); break;
    case Opcode::kLogits:
    case Opcode::kSpecVerify: words = sample_scratch(columns(plan, op, 0)); break;
    default: break;
  }
  out.each = aligned(words * 4);
  return out;
}

}  // namespace tg::backend::cpu
