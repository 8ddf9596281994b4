// The constants of the safetensors container: element types and the limits within which files are
// accepted. Reader and writer share them.
#pragma once

#include <optional>
#include <string_view>

#include "base/types.h"

namespace tg::safetensors {

inline constexpr u64 kHeaderBytesMax = 100'000'000;
inline constexpr u64 kTensorsMax = 1'000'000;       // of one file, and of one index
inline constexpr u64 kNameBytesMax = 1 << 10;       // of a tensor or a metadata key
inline constexpr u64 kMetadataBytesMax = 16 << 20;  // all keys and values of __metadata__
inline constexpr u64 kDimsMax = 8;
inline constexpr u64 kElementsMax = u64{1} << 48;  // of a tensor
inline constexpr u64 kIndexBytesMax = 100'000'000;
inline constexpr u64 kShardsMax = 4'096;

inline constexpr std::string_view kMetadataKey = "__metadata__";

// Name in the header, bytes per element.
#define TG_SAFETENSORS_DTYPES(X) \
  X(kBool, "BOOL", 1)            \
  X(kU8, "U8", 1)                \
  X(kI8, "I8", 1)                \
  X(kE5m2, "F8_E5M2", 1)         \
  X(kE4m3, "F8_E4M3", 1)         \
  X(kE8m0, "F8_E8M0", 1)         \
  X(kI16, "I16", 2)              \
  X(kU16, "U16", 2)              \
  X(kF16, "F16", 2)              \
  X(kBf16, "BF16", 2)            \
  X(kI32, "I32", 4)              \
  X(kU32, "U32", 4)              \
  X(kF32, "F32", 4)              \
  X(kF64, "F64", 8)              \
  X(kI64, "I64", 8)              \
  X(kU64, "U64", 8)

enum class DType : u8 {
#define TG_SAFETENSORS_ENUM(id, name, bytes) id,
  TG_SAFETENSORS_DTYPES(TG_SAFETENSORS_ENUM)
#undef TG_SAFETENSORS_ENUM
      kCount
};

// REQUIRES: type < kCount.
std::string_view name(DType type);
u64 element_bytes(DType type);
std::optional<DType> dtype_by_name(std::string_view name);

}  // namespace tg::safetensors
