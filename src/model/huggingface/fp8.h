// FP8 weights (OCP E4M3) with scales, as blocks of fp8_b128.
#pragma once

#include "base/result.h"
#include "model/huggingface/layout.h"

namespace tg::checkpoint {

// `weight` is [N,K]; `scale` is one number, one per row ([N] or [N,1]) or one per 128x128 block.
// kInvalid if the dimensions do not fit, kUnsupported if rows are not whole blocks.
Result<Stored> read_fp8(const safetensors::Tensor& weight, const safetensors::Tensor& scale);

}  // namespace tg::checkpoint
