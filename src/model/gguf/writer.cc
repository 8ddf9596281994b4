// Encoding is a visitor over the value types; the stream keeps only where it is.
#include "model/gguf/writer.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"

namespace tg::gguf {
namespace {

u64 aligned(u64 offset) {
  return (offset + kAlignmentDefault - 1) / kAlignmentDefault * kAlignmentDefault;
}

void append_string(std::vector<u8>& out, std::string_view text) {
  append_u64(out, text.size());
  std::span<const u8> raw = as_bytes(text);
  out.insert(out.end(), raw.begin(), raw.end());
}

// Appends the value behind its type number; overloads are the list of what can be written.
struct ValueAppender {
  std::vector<u8>& out;

  void type(ValueType type) const { append_u32(out, static_cast<u32>(type)); }
  void array(ValueType element, u64 count) const {
    type(ValueType::kArray);
    type(element);
    append_u64(out, count);
  }

  void operator()(u32 v) const {
    type(ValueType::kU32);
    append_u32(out, v);
  }
  void operator()(i32 v) const {
    type(ValueType::kI32);
    append_u32(out, static_cast<u32>(v));
  }
  void operator()(u64 v) const {
    type(ValueType::kU64);
    append_u64(out, v);
  }
  void operator()(f32 v) const {
    type(ValueType::kF32);
    append_u32(out, std::bit_cast<u32>(v));
  }
  void operator()(bool v) const {
    type(ValueType::kBool);
    append_u8(out, v ? 1 : 0);
  }
  void operator()(const std::string& v) const {
    type(ValueType::kString);
    append_string(out, v);
  }
  void operator()(const std::vector<i32>& v) const {
    array(ValueType::kI32, v.size());
    for (i32 element : v) append_u32(out, static_cast<u32>(element));
  }
  void operator()(const std::vector<f32>& v) const {
    array(ValueType::kF32, v.size());
    for (f32 element : v) append_u32(out, std::bit_cast<u32>(element));
  }
  void operator()(const std::vector<std::string>& v) const {
    array(ValueType::kString, v.size());
    for (const std::string& element : v) append_string(out, element);
  }
};

Error io_error(std::string_view action, const std::string& path) {
  return Error{Code::kIo, fmt::format("cannot {} {}: {}", action, path, std::strerror(errno))};
}

}  // namespace

void Header::set(std::string_view key, WriteValue value) {
  for (std::pair<std::string, WriteValue>& entry : metadata) {
    if (entry.first != key) continue;
    entry.second = std::move(value);
    return;
  }
  metadata.emplace_back(key, std::move(value));
}

Result<u64> tensor_bytes(const TensorDecl& tensor) {
  const isa::DTypeInfo& codec = isa::info(tensor.codec);
  bool is_sound = tensor_type_of_codec(tensor.codec).has_value() && !tensor.dims.empty() &&
                  tensor.dims.size() <= kDimsMax;
  i64 elements = 1;
  for (i64 dim : tensor.dims) {
    is_sound = is_sound && dim > 0 && dim <= kElementsMax / elements;
    if (is_sound) elements *= dim;
  }
  if (!is_sound || tensor.dims.back() % codec.block_elements != 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: cannot write tensor {} as {}{}", quote(tensor.name), codec.name,
                             dims_text(tensor.dims))};
  i64 rows = elements / tensor.dims.back();
  return static_cast<u64>(rows) *
         static_cast<u64>(isa::row_bytes(tensor.codec, tensor.dims.back()));
}

Result<std::vector<u8>> encode_header(const Header& header) {
  std::vector<u8> out;
  append_u32(out, kMagic);
  append_u32(out, kVersionMax);
  append_u64(out, header.tensors.size());
  append_u64(out, header.metadata.size());
  for (const std::pair<std::string, WriteValue>& entry : header.metadata) {
    append_string(out, entry.first);
    std::visit(ValueAppender{out}, entry.second);
  }
  u64 offset = 0;
  for (const TensorDecl& tensor : header.tensors) {
    TG_ASSIGN(u64 bytes, tensor_bytes(tensor));
    append_string(out, tensor.name);
    append_u32(out, static_cast<u32>(tensor.dims.size()));
    for (std::size_t i = tensor.dims.size(); i-- > 0;)
      append_u64(out, static_cast<u64>(tensor.dims[i]));
    append_u32(out, *tensor_type_of_codec(tensor.codec));
    append_u64(out, offset);
    offset = aligned(offset + bytes);
  }
  out.resize(aligned(out.size()));
  return out;
}

Result<Writer> Writer::create(const std::string& path, const Header& header) {
  TG_ASSIGN(std::vector<u8> encoded, encode_header(header));
  Writer writer;
  for (const TensorDecl& tensor : header.tensors) {
    TG_ASSIGN(u64 bytes, tensor_bytes(tensor));
    writer.tensor_bytes_.push_back(bytes);
  }
  writer.path_ = path;
  writer.temporary_ = path + ".tmp";
  writer.file_.reset(std::fopen(writer.temporary_.c_str(), "wb"));
  if (writer.file_ == nullptr) return io_error("create", writer.temporary_);
  TG_TRY(writer.write(encoded));
  return writer;
}

Writer::~Writer() {
  if (file_ == nullptr) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

Status Writer::write(std::span<const u8> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
    return io_error("write", temporary_);
  return {};
}

Status Writer::append(std::span<const u8> bytes) {
  if (bytes.empty()) return {};
  TG_ASSERT(tensor_ < tensor_bytes_.size());
  TG_ASSERT(bytes.size() <= tensor_bytes_[tensor_] - written_);
  TG_TRY(write(bytes));
  written_ += bytes.size();
  if (written_ < tensor_bytes_[tensor_]) return {};
  std::array<u8, kAlignmentDefault> zeros{};
  TG_TRY(write(std::span<const u8>(zeros).first(aligned(written_) - written_)));
  ++tensor_;
  written_ = 0;
  return {};
}

Status Writer::finish() {
  TG_ASSERT(written_ == 0 && (tensor_ == 0 || tensor_ == tensor_bytes_.size()));
  if (std::fclose(file_.release()) != 0) return io_error("close", temporary_);
  std::error_code failure;
  std::filesystem::rename(temporary_, path_, failure);
  if (failure)
    return Error{Code::kIo, fmt::format("cannot rename to {}: {}", path_, failure.message())};
  return {};
}

}  // namespace tg::gguf
