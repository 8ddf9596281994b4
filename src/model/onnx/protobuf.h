// The protobuf wire format, read in place: all that ONNX needs of it. A message is a span of
// fields; nothing is copied and nothing recurses, so the only limits are on how many fields are
// looked at and how deep messages nest (isa.md §12 has the reasons for a reader of our own).
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::onnx {

inline constexpr i64 kFieldsMax = i64{1} << 24;  // of one file, over all messages
inline constexpr i32 kMessageDepthMax = 8;       // a model's deepest known message is 6 down

// Groups (wire types 3 and 4) are refused: proto3 has none.
enum class Wire : u8 { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  u32 number = 0;
  Wire wire = Wire::kVarint;
  u64 value = 0;              // kVarint, kFixed32, kFixed64
  std::span<const u8> bytes;  // kBytes, borrowed

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

// Fields left to look at, shared by all readers of one file.
struct FieldBudget {
  i64 left = kFieldsMax;
};

// Walks the fields of one message. Borrows the bytes and the budget.
class MessageReader {
 public:
  MessageReader(std::span<const u8> bytes, FieldBudget& budget) : bytes_(bytes), budget_(&budget) {}

  // False at the end of the message. kCorrupt for what no encoder writes: a varint over 10 bytes, a
  // length past the end, a group, field number 0. kLimit past kFieldsMax.
  Result<bool> next(Field& field);
  // The field as a message. kCorrupt if it is not length-delimited, kLimit past kMessageDepthMax.
  Result<MessageReader> child(const Field& field) const;

 private:
  Result<u64> varint();
  Result<u64> fixed(u64 width);

  std::span<const u8> bytes_;
  FieldBudget* budget_;
  std::size_t at_ = 0;
  i32 depth_ = 0;
};

// A varint at bytes[at], which moves past it: an element of a packed field. Errors as above.
Result<u64> read_varint(std::span<const u8> bytes, std::size_t& at);

// Typed access to a field; kCorrupt, naming the field's number, for another wire type.
Result<i64> as_integer(const Field& field);
Result<f32> as_float(const Field& field);
Result<std::string_view> as_text(const Field& field);
Result<std::span<const u8>> as_bytes(const Field& field);

}  // namespace tg::onnx
