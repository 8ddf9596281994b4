// MXFP4 weights stored as codes and scales apart, as blocks of mxfp4.
#pragma once

#include "base/result.h"
#include "model/huggingface/layout.h"

namespace tg::checkpoint {

// `blocks` U8[..,K/32,16], neighbouring elements in one byte; `scales` U8[..,K/32], powers of two.
// Gives [..,K]. kInvalid if they do not fit.
Result<Stored> read_mxfp4(const safetensors::Tensor& blocks, const safetensors::Tensor& scales);

}  // namespace tg::checkpoint
