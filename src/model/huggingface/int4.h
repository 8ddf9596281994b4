// Four-bit weights in groups (AWQ, GPTQ, compressed-tensors), as blocks of int4_g128 or int4_g32: a
// block repeats its group's scale and zero point.
#pragma once

#include "base/result.h"
#include "model/huggingface/layout.h"

namespace tg::checkpoint {

struct PackedColumns {
  const safetensors::Tensor& codes;   // I32: [K,N/8] (AWQ), [K/8,N] (GPTQ)
  const safetensors::Tensor& zeros;   // I32[K/group,N/8]
  const safetensors::Tensor& scales;  // [K/group,N]
};

// All give [N,K]. kInvalid if the dimensions do not fit, kUnsupported for groups that are not whole
// blocks of 32, scales that are not exact in f16, and rows in another order (`order` is g_idx,
// which may be absent).
Result<Stored> read_awq(const PackedColumns& parts);
Result<Stored> read_gptq(const PackedColumns& parts, const safetensors::Tensor* order,
                         i32 zero_offset);
// codes I32[N,K/8], scale [N,K/group]; symmetric: the zero point is 8.
Result<Stored> read_compressed_int4(const safetensors::Tensor& codes,
                                    const safetensors::Tensor& scale);

}  // namespace tg::checkpoint
