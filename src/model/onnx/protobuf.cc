// Every length is compared with what is left before it is used; sums never overflow because the
// larger side is always a size that exists in memory.
#include "model/onnx/protobuf.h"

#include <fmt/format.h>

#include <bit>

namespace tg::onnx {
namespace {

Error corrupt(std::string message) {
  return Error{Code::kCorrupt, "onnx: " + std::move(message)};
}

constexpr std::size_t kVarintBytesMax = 10;

}  // namespace

Result<u64> read_varint(std::span<const u8> bytes, std::size_t& at) {
  u64 value = 0;
  for (std::size_t i = 0; i < kVarintBytesMax; ++i) {
    if (at >= bytes.size()) return corrupt("the file ends inside a number");
    u8 byte = bytes[at++];
    value |= u64{byte & 0x7Fu} << (7 * i);
    if (byte < 0x80) return value;
  }
  return corrupt("a number is longer than 10 bytes");
}

Result<u64> MessageReader::varint() {
  return read_varint(bytes_, at_);
}

Result<u64> MessageReader::fixed(u64 width) {
  if (bytes_.size() - at_ < width) return corrupt("the file ends inside a number");
  u64 value = 0;
  for (u64 i = 0; i < width; ++i) value |= u64{bytes_[at_++]} << (8 * i);
  return value;
}

Result<bool> MessageReader::next(Field& field) {
  if (at_ == bytes_.size()) return false;
  if (budget_->left-- <= 0)
    return Error{Code::kLimit, fmt::format("onnx: more than {} fields", kFieldsMax)};
  TG_ASSIGN(u64 tag, varint());
  if (tag >> 3 == 0 || tag >> 3 > 0x1FFF'FFFF)
    return corrupt(fmt::format("field number {}", tag >> 3));
  field = Field{.number = static_cast<u32>(tag >> 3)};
  switch (tag & 7) {
    case 0: {
      TG_ASSIGN(field.value, varint());
      break;
    }
    case 1: {
      TG_ASSIGN(field.value, fixed(8));
      break;
    }
    case 2: {
      TG_ASSIGN(u64 length, varint());
      if (length > bytes_.size() - at_)
        return corrupt(fmt::format("field {} has {} bytes, {} are left", field.number, length,
                                   bytes_.size() - at_));
      field.bytes = bytes_.subspan(at_, static_cast<std::size_t>(length));
      at_ += static_cast<std::size_t>(length);
      break;
    }
    case 5: {
      TG_ASSIGN(field.value, fixed(4));
      break;
    }
    default: return corrupt(fmt::format("field {} has wire type {}", field.number, tag & 7));
  }
  field.wire = static_cast<Wire>(tag & 7);
  return true;
}

Result<MessageReader> MessageReader::child(const Field& field) const {
  TG_ASSIGN(std::span<const u8> bytes, as_bytes(field));
  if (depth_ + 1 > kMessageDepthMax)
    return Error{Code::kLimit, fmt::format("onnx: messages nest deeper than {}", kMessageDepthMax)};
  MessageReader reader(bytes, *budget_);
  reader.depth_ = depth_ + 1;
  return reader;
}

static Error wrong_wire(const Field& field, std::string_view expected) {
  return corrupt(fmt::format("field {} has wire type {}, expected {}", field.number,
                             static_cast<int>(field.wire), expected));
}

Result<i64> as_integer(const Field& field) {
  if (field.wire != Wire::kVarint) return wrong_wire(field, "a varint");
  return static_cast<i64>(field.value);
}

Result<f32> as_float(const Field& field) {
  if (field.wire != Wire::kFixed32) return wrong_wire(field, "4 bytes");
  return std::bit_cast<f32>(static_cast<u32>(field.value));
}

Result<std::string_view> as_text(const Field& field) {
  if (field.wire != Wire::kBytes) return wrong_wire(field, "bytes");
  return field.text();
}

Result<std::span<const u8>> as_bytes(const Field& field) {
  if (field.wire != Wire::kBytes) return wrong_wire(field, "bytes");
  return field.bytes;
}

}  // namespace tg::onnx
