// Private forms on a GPU. Weights keep their codec's blocks, each padded so that its codes begin at
// a multiple of four bytes (kernels/codecs.cl reads them); f32, f16 and bf16 rows are padded to
// whole runs of 32. What an op reads as a vector follows as f32. Cache pages hold rows of each
// head.
#pragma once

#include <span>

#include "backend/abi.h"
#include "backend/cpu/kv_layout.h"
#include "base/result.h"
#include "isa/program.h"

namespace tg::backend::gpu {

inline constexpr i64 kAlignment = 64;
constexpr i64 aligned(i64 bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

inline constexpr i64 kRun = 32;               // columns that are decoded at a time
inline constexpr i64 kCodesBytes = 4 + kRun;  // of a run of int8 activations, scale first

// Whether a weight's codes are multiplied with int8 codes of x (INT_CODES of kernels/linear.cl).
constexpr bool multiplies_codes(isa::DType codec) {
  return codec == isa::DType::kQ8_0 || codec == isa::DType::kQ4_0;
}

struct Packed {
  i64 matrices = 0, rows = 0, columns = 0;
  i64 row_bytes = 0;
  i64 vector = 0;  // bytes of the f32 form
  i64 matrix_bytes() const { return rows * row_bytes; }
  i64 vector_offset() const { return aligned(matrices * matrix_bytes()); }
  i64 bytes() const { return vector_offset() + vector; }
};

// `dims` of a weight that is used so (TG_USE_*); kUnsupported if it has no such form.
Result<Packed> packed_form(isa::DType codec, std::span<const i64> dims, u16 uses);

// What a host's description says, checked.
Result<Packed> packed_form(const tg_wdesc& weight);

// Canonical bytes to `to`, packed.bytes() long. kInvalid if the description's sizes do not fit.
Status pack_weight(const tg_wdesc& weight, const Packed& packed, u8* to);

// ---- caches

struct CacheForm {
  cpu::KvFormat format{};
  i64 heads = 0, page_tokens = 0;
  i64 dk = 0, dv = 0;              // channels of a key and of a value as attention sees them
  i64 key_row = 0, value_row = 0;  // bytes; value_row 0: latent
  i64 page_bytes() const { return aligned(heads * page_tokens * (key_row + value_row)); }
};

Result<CacheForm> cache_form(const tg_kvdesc& kv);
CacheForm cache_form(const isa::KvDecl& kv);

inline constexpr i64 kHeadDimMax = 1'024;

}  // namespace tg::backend::gpu
