// Block codecs: exact dequantisation of stored rows to f32, and simple deterministic encoders for
// tests and synthetic models. The bit layouts are the widely used ones of GGUF files and OCP MX.
#pragma once

#include <span>

#include "isa/dtype.h"

namespace tg::isa {

// IEEE binary16 and bfloat16, both ways; to 16 bits rounds to nearest even, NaN stays NaN.
f32 f32_from_f16(u16 bits);
u16 f16_from_f32(f32 value);
f32 f32_from_bf16(u16 bits);
u16 bf16_from_f32(f32 value);

// The value as its dtype holds it. REQUIRES: f32, f16 or bf16.
f32 round_to(DType type, f32 value);

bool can_dequantize(DType codec);
bool can_quantize(DType codec);

// out[i] = the i-th element of the row, exactly.
// REQUIRES: can_dequantize(codec), row.size() == row_bytes(codec, out.size()).
void dequantize_row(DType codec, std::span<const u8> row, std::span<f32> out);

// A row whose dequantisation is near `in`. REQUIRES: can_quantize(codec), finite input,
// row.size() == row_bytes(codec, in.size()).
void quantize_row(DType codec, std::span<const f32> in, std::span<u8> row);

}  // namespace tg::isa
