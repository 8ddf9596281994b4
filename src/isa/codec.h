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

// OCP 8-bit floats, both ways. To 8 bits rounds to nearest even and saturates: whatever is beyond
// the largest finite value (448 for e4m3, 57,344 for e5m2), infinity too, becomes that value. NaN
// stays NaN. e4m3 has no infinity; e5m2's is read but never written.
f32 f32_from_e4m3(u8 bits);
u8 e4m3_from_f32(f32 value);
f32 f32_from_e5m2(u8 bits);
u8 e5m2_from_f32(f32 value);

// The value as its dtype holds it. REQUIRES: f32, f16, bf16, e4m3 or e5m2.
f32 round_to(DType type, f32 value);

// True for every float type but the bare e8m0 and e2m1, and for every block codec.
bool can_dequantize(DType codec);
bool can_quantize(DType codec);

// What a weight may be declared as: the above without the bare 8-bit floats, which only caches use.
bool is_weight_codec(DType codec);

// out[i] = the i-th element of the row, exactly.
// REQUIRES: can_dequantize(codec), row.size() == row_bytes(codec, out.size()).
void dequantize_row(DType codec, std::span<const u8> row, std::span<f32> out);

// A row whose dequantisation is near `in`. REQUIRES: can_quantize(codec), finite input,
// row.size() == row_bytes(codec, in.size()).
void quantize_row(DType codec, std::span<const f32> in, std::span<u8> row);

}  // namespace tg::isa
