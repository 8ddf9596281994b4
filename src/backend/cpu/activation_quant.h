// The xq attribute: activations rounded to a smaller type before a product (isa.md 4.2), as the
// numbers they stand for.
#pragma once

#include "backend/cpu/kernels/args.h"
#include "isa/opcode.h"

namespace tg::backend::cpu {

// How a product with a weight of this form takes its activations: as int8 if both allow it; kNone
// if as f32, rounded by round_activations() if xq says so.
Int8Rounding int8_rounding_of(isa::ActivationQuant xq, PanelForm form);

// Rounds rows of x to y. Scales and codes are those of isa/reference to the bit; the product of
// both is rounded to f32.
struct RoundedArgs {
  isa::ActivationQuant xq;  // not kNone
  const f32* x;             // [rows, k]
  f32* y;                   // [rows, k]
  i64 rows, k;
};
void round_activations(const RoundedArgs& args, i32 part, i32 parts);

}  // namespace tg::backend::cpu
