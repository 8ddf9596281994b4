// How xq=... rounds a row of activations before a product. The rounded values are what the product
// sees; the reference then multiplies them like any others.
#pragma once

#include <span>

#include "isa/opcode.h"

namespace tg::isa {

// i8/32 and i8/tok: scale = max|x| / 127 in f32 per 32 columns or row, codes to nearest even.
// fp8/128: scale = max|x| / 448 per 128 columns, e4m3. mxfp4: power-of-two scale per 32, e2m1.
// bf16: each number to nearest even.
void quantize_activations(ActivationQuant xq, std::span<f64> row);

}  // namespace tg::isa
