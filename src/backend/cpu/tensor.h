// A tensor at run time, and the attributes of an op as plain fields.
#pragma once

#include <span>

#include "base/types.h"
#include "isa/opcode.h"
#include "isa/program.h"

namespace tg::backend::cpu {

// Row-major without gaps. Every element takes four bytes: f16 and bf16 values are kept as the f32
// they round to, so that kernels exist once; i32 tensors are read through ints().
struct Tensor {
  f32* data = nullptr;
  i64 dims[4] = {1, 1, 1, 1};
  i32 rank = 1;

  i64 cols() const { return dims[rank - 1]; }
  i64 rows() const {
    i64 n = 1;
    for (i32 i = 0; i + 1 < rank; ++i) n *= dims[i];
    return n;
  }
  i64 elements() const { return rows() * cols(); }
  const i32* ints() const { return reinterpret_cast<const i32*>(data); }
  i32* ints() { return reinterpret_cast<i32*>(data); }
};

// What the op has of these; the rest keeps its zero.
struct OpAttributes {
  f32 eps = 0, woff = 0, alpha = 0, beta = 0, limit = 0, mscale = 0, scale = 0, softcap = 0;
  u32 offset = 0, axis = 0, group = 0, heads = 0, kv_heads = 0, rot = 0, window = 0, trans = 0;
  u32 table = 0, k = 0, groups = 0, topk_groups = 0, renorm = 0, norm = 0, top_n = 0;
  isa::Activation act = isa::Activation::kSilu;
  isa::NormCast cast_at = isa::NormCast::kAfterWeight;
  isa::Reduction reduction = isa::Reduction::kSum;
  isa::RopeStyle style = isa::RopeStyle::kNeox;
  isa::Mask mask = isa::Mask::kCausal;
  isa::ActivationQuant xq = isa::ActivationQuant::kNone;
  isa::Accumulate acc = isa::Accumulate::kF32;
  isa::RouteScore score = isa::RouteScore::kSoftmax;
  isa::GroupScore group_score = isa::GroupScore::kMax;
  isa::Pooling pooling = isa::Pooling::kLast;
  isa::VerifyMode mode = isa::VerifyMode::kExact;
  std::span<const u32> code;      // of ew; borrowed from the instruction
  std::span<const u32> sections;  // of rope; borrowed from the instruction
  std::span<const u32> axes;      // of permute; borrowed from the instruction
};

OpAttributes resolve_attributes(const isa::FlatInstruction& instruction);

}  // namespace tg::backend::cpu
