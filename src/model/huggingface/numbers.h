// Single elements of stored tensors, at any alignment, and the words of messages about them.
#pragma once

#include <bit>
#include <string>

#include "base/assert.h"
#include "isa/codec.h"
#include "model/safetensors/reader.h"

namespace tg::checkpoint {

inline u32 word_at(const safetensors::Tensor& tensor, i64 index) {
  const u8* p = tensor.data.data() + 4 * index;
  return u32{p[0]} | u32{p[1]} << 8 | u32{p[2]} << 16 | u32{p[3]} << 24;
}

inline u16 half_at(const safetensors::Tensor& tensor, i64 index) {
  const u8* p = tensor.data.data() + 2 * index;
  return static_cast<u16>(p[0] | p[1] << 8);
}

inline bool is_float(safetensors::DType type) {
  return type == safetensors::DType::kF32 || type == safetensors::DType::kF16 ||
         type == safetensors::DType::kBf16;
}

// REQUIRES: is_float(tensor.dtype), index in range.
inline f32 float_at(const safetensors::Tensor& tensor, i64 index) {
  TG_ASSERT(is_float(tensor.dtype));
  if (tensor.dtype == safetensors::DType::kF32) return std::bit_cast<f32>(word_at(tensor, index));
  u16 half = half_at(tensor, index);
  return tensor.dtype == safetensors::DType::kF16 ? isa::f32_from_f16(half)
                                                  : isa::f32_from_bf16(half);
}

inline void put_half(u8* out, u16 value) {
  out[0] = static_cast<u8>(value);
  out[1] = static_cast<u8>(value >> 8);
}

inline void put_float(u8* out, f32 value) {
  u32 bits = std::bit_cast<u32>(value);
  for (int i = 0; i < 4; ++i) out[i] = static_cast<u8>(bits >> (8 * i));
}

// "tensor 'model.norm.weight' is F64[32]"
std::string describe(const safetensors::Tensor& tensor);

}  // namespace tg::checkpoint
