// The xq attribute: activations rounded to a smaller type before a product (isa.md 4.2), as the
// numbers they stand for.
#pragma once

#include "isa/opcode.h"

namespace tg::backend::cpu {

// Rounds row `x` of n columns to `y`. Scales and codes are those of isa/reference to the bit; the
// product of both is rounded to f32.
void quantize_activations(isa::ActivationQuant xq, const f32* x, i64 n, f32* y);

}  // namespace tg::backend::cpu
