// What the readers of all messages of onnx.proto3 share: walking fields, names and repeated numbers
// with their limits.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

#include "model/onnx/graph.h"
#include "model/onnx/protobuf.h"

namespace tg::onnx {

inline Error limit(std::string_view what, i64 max) {
  return Error{Code::kLimit, fmt::format("onnx: more than {} {}", max, what)};
}

// Calls visit(field) -> Status for every field; what it does not know it leaves.
template <typename Visit>
Status each_field(MessageReader reader, Visit visit) {
  Field field;
  while (true) {
    TG_ASSIGN(bool more, reader.next(field));
    if (!more) return {};
    TG_TRY(visit(field));
  }
}

inline Result<std::string_view> read_name(const Field& field) {
  TG_ASSIGN(std::string_view text, as_text(field));
  if (static_cast<i64>(text.size()) > kNameBytesMax)
    return Error{Code::kLimit,
                 fmt::format("onnx: a name has {} bytes, at most {}", text.size(), kNameBytesMax)};
  return text;
}

template <typename T>
Status push(std::vector<T>& out, T value, std::string_view what, i64 max) {
  if (static_cast<i64>(out.size()) >= max) return limit(what, max);
  out.push_back(std::move(value));
  return {};
}

// A repeated number, packed or one by one.
template <typename Take>
Status each_varint(const Field& field, Take take) {
  if (field.wire == Wire::kVarint) return take(field.value);
  TG_ASSIGN(std::span<const u8> bytes, as_bytes(field));
  for (std::size_t at = 0; at < bytes.size();) {
    TG_ASSIGN(u64 value, read_varint(bytes, at));
    TG_TRY(take(value));
  }
  return {};
}

// A StringStringEntryProto.
struct Property {
  std::string_view key;
  std::string_view value;
};

inline Result<Property> read_property(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  Property out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    if (field.number != 1 && field.number != 2) return {};
    TG_ASSIGN((field.number == 1 ? out.key : out.value), as_text(field));
    return {};
  }));
  return out;
}

// A TensorProto. Errors as File::parse.
Result<Tensor> read_tensor(const MessageReader& parent, const Field& message);

}  // namespace tg::onnx
