// One table for tensor types, one for value types; every translation goes through them.
#include "model/gguf/format.h"

#include <fmt/format.h>

#include <array>

namespace tg::gguf {
namespace {

struct ValueTypeInfo {
  std::string_view name;
  u64 bytes;
};

constexpr std::array<ValueTypeInfo, static_cast<std::size_t>(ValueType::kCount)> kValueTypes = {{
    {"u8", 1},
    {"i8", 1},
    {"u16", 2},
    {"i16", 2},
    {"u32", 4},
    {"i32", 4},
    {"f32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"u64", 8},
    {"i64", 8},
    {"f64", 8},
}};

struct TensorType {
  u32 number;
  std::string_view name;
  isa::DType codec;  // kCount: the ISA has none.
};

constexpr isa::DType kNone = isa::DType::kCount;

constexpr auto kTensorTypes = std::to_array<TensorType>({
    {0, "f32", isa::DType::kF32},
    {1, "f16", isa::DType::kF16},
    {2, "q4_0", isa::DType::kQ4_0},
    {3, "q4_1", isa::DType::kQ4_1},
    {6, "q5_0", isa::DType::kQ5_0},
    {7, "q5_1", isa::DType::kQ5_1},
    {8, "q8_0", isa::DType::kQ8_0},
    {9, "q8_1", kNone},
    {10, "q2_k", isa::DType::kQ2K},
    {11, "q3_k", isa::DType::kQ3K},
    {12, "q4_k", isa::DType::kQ4K},
    {13, "q5_k", isa::DType::kQ5K},
    {14, "q6_k", isa::DType::kQ6K},
    {15, "q8_k", kNone},
    {16, "iq2_xxs", kNone},
    {17, "iq2_xs", kNone},
    {18, "iq3_xxs", kNone},
    {19, "iq1_s", kNone},
    {20, "iq4_nl", isa::DType::kIq4Nl},
    {21, "iq3_s", kNone},
    {22, "iq2_s", kNone},
    {23, "iq4_xs", isa::DType::kIq4Xs},
    {24, "i8", isa::DType::kI8},
    {25, "i16", isa::DType::kI16},
    {26, "i32", isa::DType::kI32},
    {27, "i64", isa::DType::kI64},
    {28, "f64", kNone},
    {29, "iq1_m", kNone},
    {30, "bf16", isa::DType::kBf16},
    {34, "tq1_0", kNone},
    {35, "tq2_0", kNone},
    {39, "mxfp4", isa::DType::kMxfp4},
    {40, "nvfp4", isa::DType::kNvfp4},
});

constexpr std::size_t kQuotedBytesMax = 80;

}  // namespace

std::string_view name(ValueType type) {
  TG_ASSERT(type < ValueType::kCount);
  return kValueTypes[static_cast<std::size_t>(type)].name;
}

u64 scalar_bytes(ValueType type) {
  TG_ASSERT(type < ValueType::kCount);
  return kValueTypes[static_cast<std::size_t>(type)].bytes;
}

Result<isa::DType> codec_of_tensor_type(u32 tensor_type) {
  for (const TensorType& entry : kTensorTypes) {
    if (entry.number != tensor_type) continue;
    if (entry.codec != kNone) return entry.codec;
    return Error{Code::kUnsupported,
                 fmt::format("tensor type {} ({}) is not supported", tensor_type, entry.name)};
  }
  return Error{Code::kUnsupported, fmt::format("tensor type {} is not known", tensor_type)};
}

std::optional<u32> tensor_type_of_codec(isa::DType codec) {
  for (const TensorType& entry : kTensorTypes)
    if (entry.codec == codec && codec != kNone) return entry.number;
  return std::nullopt;
}

std::string quote(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, kQuotedBytesMax)) {
    if (c >= 0x20 && c < 0x7F)
      out += c;
    else
      out += fmt::format("\\x{:02x}", static_cast<u8>(c));
  }
  return out + (text.size() > kQuotedBytesMax ? "...'" : "'");
}

std::string dims_text(const std::vector<i64>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

}  // namespace tg::gguf
