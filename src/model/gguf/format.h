// The constants of the GGUF container: value types, tensor types and the limits within which files
// are accepted. Reader and writer share them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "isa/dtype.h"

namespace tg::gguf {

inline constexpr u32 kMagic = 0x4655'4747;  // "GGUF", little-endian
inline constexpr u32 kVersionMin = 2;       // Version 1 had 32-bit lengths.
inline constexpr u32 kVersionMax = 3;
inline constexpr u32 kAlignmentDefault = 32;
inline constexpr u32 kAlignmentMin = 8;  // Kernels read words where they lie.
inline constexpr u32 kAlignmentMax = 1 << 20;

inline constexpr u64 kKeysMax = 1 << 16;
inline constexpr u64 kTensorsMax = 1 << 16;
inline constexpr u64 kNameBytesMax = 1 << 10;       // of a key or a tensor
inline constexpr u64 kStringBytesMax = 16 << 20;    // of a value; chat templates are the long ones
inline constexpr u64 kArrayElementsMax = 16 << 20;  // vocabularies are the long ones
inline constexpr i32 kArrayNestingMax = 4;          // arrays of arrays
inline constexpr u32 kDimsMax = 4;
inline constexpr i64 kElementsMax = i64{1} << 48;  // of a tensor

// A file with this key set to true describes tensors whose data it does not hold: enough to build,
// cost and quote the program, not to run it.
inline constexpr std::string_view kNoDataKey = "tokengrid.no_data";

enum class ValueType : u32 {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kCount
};

// "u32", "string", "array"; REQUIRES: type < kCount.
std::string_view name(ValueType type);
// Stored bytes of a scalar; 0 for strings and arrays.
u64 scalar_bytes(ValueType type);

// The ISA's codec for the file's tensor type number. kUnsupported, naming the number, for types
// that the ISA has no codec for.
Result<isa::DType> codec_of_tensor_type(u32 tensor_type);
// The other way round; nullopt for codecs that the container has no number for.
std::optional<u32> tensor_type_of_codec(isa::DType codec);

// Text from a file made fit for a one-line message: quoted, at most 80 bytes, control and non-ASCII
// bytes escaped.
std::string quote(std::string_view text);
// "[4096,128]"
std::string dims_text(const std::vector<i64>& dims);

}  // namespace tg::gguf
