#include "backend/cpu/scratch.h"

#include <algorithm>

#include "backend/cpu/activation_quant.h"
#include "backend/cpu/kernels/args.h"
#include "backend/cpu/moe_ops.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/sample_ops.h"
#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;

const isa::Type& operand(const Plan& plan, const isa::FlatInstruction& op, std::size_t i) {
  return plan.flat.values[op.in[i].index];
}

i64 columns(const Plan& plan, const isa::FlatInstruction& op, std::size_t i) {
  return operand(plan, op, i).dims.back().constant;
}

i64 rows_of(const Plan& plan, const isa::Type& x) {
  i64 rows = 1;
  for (std::size_t i = 0; i + 1 < x.dims.size(); ++i) {
    rows *= evaluate(x.dims[i], plan.limits.tokens, plan.limits.sequences, plan.limits.rows);
  }
  return rows;
}

Int8Rounding rounding_of(const Plan& plan, const isa::FlatInstruction& op) {
  isa::DType codec = plan.program.program().weights[op.in[1].index].codec;
  return int8_rounding_of(resolve_attributes(op).xq, panel_form(codec).value());
}

// Activations rounded by xq, or in bf16 for bf16 weights, before the product reads them; experts
// round the rows they gather.
i64 rounded_bytes(const Plan& plan, const isa::FlatInstruction& op) {
  i64 rows = rows_of(plan, operand(plan, op, 0));
  i64 k = columns(plan, op, 0);
  isa::ActivationQuant xq = resolve_attributes(op).xq;
  bool is_bf16 = plan.program.program().weights[op.in[1].index].codec == isa::DType::kBf16 &&
                 op.op == Opcode::kLinear;
  if (xq == isa::ActivationQuant::kNone) {
    return is_bf16 ? aligned(split_bytes(rows, k, kSplitParts)) : 0;
  }
  if (rounding_of(plan, op) == Int8Rounding::kNone) {
    i64 in_f32 = rows * k * 4;
    return aligned(is_bf16 ? std::max(in_f32, split_bytes(rows, k, 1)) : in_f32);
  }
  return op.op == Opcode::kLinear ? aligned(int8_bytes(rows, k)) : 0;
}

// Floats each share of a bmm with a weight needs; 0 for two activations.
i64 bmm_floats(const Plan& plan, const isa::FlatInstruction& op) {
  if (op.in[1].kind != isa::OperandKind::kWeight) return 0;
  const isa::Type& y = plan.flat.values[op.out[0]];
  return batched_scratch(columns(plan, op, 0), y.dims.back().constant);
}

// Words each share of an attention needs: a path in a tree, and its part of the sums by segment of
// at most kItemsPerThread items a thread.
i64 attention_words(const Plan& plan, const isa::FlatInstruction& op) {
  OpAttributes attributes = resolve_attributes(op);
  const isa::KvDecl& kv = plan.program.program().kv[op.in[1].index];
  i64 path = attributes.mask == isa::Mask::kTree ? plan.limits.tokens : 0;
  i64 segments = (plan.limits.context + kSegmentKeys - 1) / kSegmentKeys;
  if (segments < 2 || plan.limits.threads == 1) return path;
  i64 dv = kv.latent > 0 ? kv.latent : kv.dv;
  i64 heads = attributes.heads / kv.heads;
  return path + kItemsPerThread * heads * segments * sums_words(dv);
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
    case Opcode::kAttn: words = attention_words(plan, op); break;
    case Opcode::kRoute: words = 2 * route_scratch(columns(plan, op, 0)); break;
    case Opcode::kLogits:
    case Opcode::kSpecVerify: words = sample_scratch(columns(plan, op, 0)); break;
    default: break;
  }
  out.each = aligned(words * 4);
  return out;
}

}  // namespace tg::backend::cpu
