// Element types and named block codecs (isa.md §6). A codec has normative bits: so many elements in
// so many bytes, and an exact dequantisation to f32 (codec.h).
#pragma once

#include <optional>
#include <string_view>

#include "base/types.h"

namespace tg::isa {

// name, elements per block, bytes per block. The enum values are part of the binary encoding:
// append only.
#define TG_DTYPES(X)               \
  X(kBool, "bool", 1, 1)           \
  X(kI8, "i8", 1, 1)               \
  X(kI16, "i16", 1, 2)             \
  X(kI32, "i32", 1, 4)             \
  X(kI64, "i64", 1, 8)             \
  X(kU8, "u8", 1, 1)               \
  X(kU32, "u32", 1, 4)             \
  X(kF32, "f32", 1, 4)             \
  X(kF16, "f16", 1, 2)             \
  X(kBf16, "bf16", 1, 2)           \
  X(kE4m3, "e4m3", 1, 1)           \
  X(kE5m2, "e5m2", 1, 1)           \
  X(kE8m0, "e8m0", 1, 1)           \
  X(kE2m1, "e2m1", 2, 1)           \
  X(kQ4_0, "q4_0", 32, 18)         \
  X(kQ4_1, "q4_1", 32, 20)         \
  X(kQ5_0, "q5_0", 32, 22)         \
  X(kQ5_1, "q5_1", 32, 24)         \
  X(kQ8_0, "q8_0", 32, 34)         \
  X(kQ2K, "q2_k", 256, 84)         \
  X(kQ3K, "q3_k", 256, 110)        \
  X(kQ4K, "q4_k", 256, 144)        \
  X(kQ5K, "q5_k", 256, 176)        \
  X(kQ6K, "q6_k", 256, 210)        \
  X(kIq4Nl, "iq4_nl", 32, 18)      \
  X(kIq4Xs, "iq4_xs", 256, 136)    \
  X(kMxfp4, "mxfp4", 32, 17)       \
  X(kNvfp4, "nvfp4", 64, 36)       \
  X(kI4G32, "int4_g32", 32, 20)    \
  X(kI4G128, "int4_g128", 128, 68) \
  X(kFp8B128, "fp8_b128", 128, 132)

enum class DType : u8 {
#define TG_DTYPE_ENUM(id, name, elements, bytes) id,
  TG_DTYPES(TG_DTYPE_ENUM)
#undef TG_DTYPE_ENUM
      kCount
};

struct DTypeInfo {
  std::string_view name;
  i64 block_elements;
  i64 block_bytes;
};

// REQUIRES: type < DType::kCount.
const DTypeInfo& info(DType type);
std::optional<DType> dtype_by_name(std::string_view name);

// Stored bytes of a row of `columns` elements. REQUIRES: columns % block_elements == 0.
i64 row_bytes(DType type, i64 columns);

}  // namespace tg::isa
