// TensorProto: its header is read before its elements, whichever comes first in the file, so that
// elements are checked against dimensions as they come.
#include <algorithm>

#include "model/onnx/message.h"

namespace tg::onnx {
namespace {

void append_bytes(std::vector<u8>& out, u64 value, i64 width) {
  for (i64 i = 0; i < width; ++i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

// The paths that a location may name: below the model's own folder, by plain names.
Status check_location(std::string_view location) {
  bool bad = location.empty() || location.front() == '/' ||
             location.find('\\') != std::string_view::npos ||
             location.find('\0') != std::string_view::npos ||
             location.find(':') != std::string_view::npos;
  for (std::size_t at = 0; at <= location.size() && !bad;) {
    std::size_t end = std::min(location.find('/', at), location.size());
    std::string_view part = location.substr(at, end - at);
    bad = part.empty() || part == "." || part == "..";
    at = end + 1;
  }
  if (bad)
    return Error{Code::kDenied, "onnx: external data in " + quote(location) +
                                    ", which is not a file beside the model"};
  return {};
}

Result<u64> read_size(std::string_view key, std::string_view text) {
  u64 value = 0;
  bool bad = text.empty() || text.size() > 18;
  for (char c : text) {
    if (c < '0' || c > '9') bad = true;
    value = value * 10 + static_cast<u64>(c - '0');
  }
  if (bad)
    return Error{Code::kInvalid, fmt::format("onnx: external data's {} is {}", key, quote(text))};
  return value;
}

Status read_external(const MessageReader& parent, const Field& message, ExternalData& out) {
  TG_ASSIGN(Property entry, read_property(parent, message));
  if (entry.key == "location") {
    if (static_cast<i64>(entry.value.size()) > kNameBytesMax)
      return limit("bytes in a location", kNameBytesMax);
    out.location = entry.value;
  } else if (entry.key == "offset") {
    TG_ASSIGN(out.offset, read_size("offset", entry.value));
  } else if (entry.key == "length") {
    TG_ASSIGN(out.length, read_size("length", entry.value));
  }
  return {};
}

// What a TensorProto spells element by element, by field.
enum DataField : u32 { kFloats = 4, kInt32s = 5, kInt64s = 7, kDoubles = 10, kUint64s = 11 };

// The field that holds a type's elements, and their width in bytes there is element_bits / 8.
u32 data_field(ElementType type) {
  switch (type) {
    case ElementType::kFloat: return kFloats;
    case ElementType::kInt64: return kInt64s;
    case ElementType::kDouble: return kDoubles;
    case ElementType::kUint32:
    case ElementType::kUint64: return kUint64s;
    default: return kInt32s;
  }
}

class TensorReader {
 public:
  static Result<Tensor> read(const MessageReader& parent, const Field& message) {
    TG_ASSIGN(MessageReader reader, parent.child(message));
    TensorReader tensor(reader);
    TG_TRY(each_field(tensor.reader_, [&](const Field& f) { return tensor.header(f); }));
    TG_TRY(tensor.check_header());
    TG_TRY(each_field(tensor.reader_, [&](const Field& f) { return tensor.elements(f); }));
    TG_TRY(tensor.check_data());
    return std::move(tensor.out_);
  }

 private:
  explicit TensorReader(MessageReader reader) : reader_(reader) {}

  Status header(const Field& field);
  Status check_header() const;
  Status elements(const Field& field);
  Status check_data();
  Error wrong(Code code, std::string message) const {
    return Error{code, "onnx: tensor " + quote(out_.name) + " " + std::move(message)};
  }

  Tensor out_;
  ExternalData external_;
  bool is_external_ = false;
  bool has_raw_ = false;
  MessageReader reader_;
};

Status TensorReader::header(const Field& field) {
  switch (field.number) {
    case 1:
      return each_varint(field, [&](u64 dim) {
        return push(out_.dims, static_cast<i64>(dim), "dimensions", kDimsMax);
      });
    case 2: {
      TG_ASSIGN(i64 type, as_integer(field));
      out_.type = static_cast<ElementType>(static_cast<i32>(std::clamp<i64>(type, -1, 1'000)));
      return {};
    }
    case 3: return Error{Code::kUnsupported, "onnx: a tensor in segments"};
    case 8: {
      TG_ASSIGN(out_.name, read_name(field));
      return {};
    }
    case 9: {
      TG_ASSIGN(out_.raw, as_bytes(field));
      has_raw_ = true;
      return {};
    }
    case 13: return read_external(reader_, field, external_);
    case 14: {
      TG_ASSIGN(i64 location, as_integer(field));
      if (location != 0 && location != 1)
        return Error{Code::kInvalid, fmt::format("onnx: data_location {}", location)};
      is_external_ = location == 1;
      return {};
    }
    default: return {};
  }
}

Status TensorReader::check_header() const {
  if (element_bits(out_.type) == 0)
    return wrong(Code::kUnsupported, "has elements of type " + onnx::name(out_.type));
  i64 product = 1;
  for (i64 dim : out_.dims) {
    if (dim < 0 || dim > kElementsMax || (dim > 0 && product > kElementsMax / dim))
      return wrong(Code::kLimit, "is " + dims_text(out_.dims));
    product *= dim;
  }
  if (is_external_) return check_location(external_.location);
  return {};
}

// Elements as numbers: converted to the bytes that raw_data would hold.
Status TensorReader::elements(const Field& field) {
  bool is_data = field.number == kFloats || field.number == kInt32s || field.number == kInt64s ||
                 field.number == kDoubles || field.number == kUint64s;
  if (!is_data) return {};
  if (is_external_ || has_raw_) return wrong(Code::kInvalid, "has its data twice");
  if (field.number != data_field(out_.type) || element_bits(out_.type) < 8)
    return wrong(Code::kInvalid, fmt::format("of type {} has its elements in field {}",
                                             onnx::name(out_.type), field.number));
  i64 width = element_bits(out_.type) / 8;
  std::size_t most = static_cast<std::size_t>(out_.data_bytes());
  auto add = [&](u64 value) -> Status {
    if (out_.decoded.size() >= most)
      return wrong(Code::kInvalid, "has more elements than " + dims_text(out_.dims));
    append_bytes(out_.decoded, value, width);
    return {};
  };
  if (field.number != kFloats && field.number != kDoubles) return each_varint(field, add);
  if (field.wire == (width == 4 ? Wire::kFixed32 : Wire::kFixed64)) return add(field.value);
  TG_TRY(as_bytes(field));
  // Packed floats are raw data already.
  if (out_.decoded.size() + field.bytes.size() > most)
    return wrong(Code::kInvalid, "has more elements than " + dims_text(out_.dims));
  out_.decoded.insert(out_.decoded.end(), field.bytes.begin(), field.bytes.end());
  return {};
}

Status TensorReader::check_data() {
  if (is_external_) {
    if (has_raw_) return wrong(Code::kInvalid, "has its data twice");
    out_.external = external_;
    return {};
  }
  if (out_.data().size() != out_.data_bytes())
    return wrong(Code::kCorrupt, fmt::format("is {}{} but has {} bytes", onnx::name(out_.type),
                                             dims_text(out_.dims), out_.data().size()));
  return {};
}

}  // namespace

Result<Tensor> read_tensor(const MessageReader& parent, const Field& message) {
  return TensorReader::read(parent, message);
}

}  // namespace tg::onnx
