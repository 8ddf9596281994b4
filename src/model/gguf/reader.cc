// One pass over header, metadata and tensor descriptions, then checks over all tensors together.
#include "model/gguf/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/checked.h"

namespace tg::gguf {
namespace {

Error corrupt(std::string message) {
  return Error{Code::kCorrupt, "gguf: " + std::move(message)};
}

Error over_limit(std::string_view what, u64 value, u64 limit) {
  return Error{Code::kLimit,
               fmt::format("gguf: {} {} is over the limit of {}", what, value, limit)};
}

u64 little_endian(std::span<const u8> raw) {
  u64 bits = 0;
  for (std::size_t i = raw.size(); i-- > 0;) bits = (bits << 8) | raw[i];
  return bits;
}

bool is_signed(ValueType type) {
  return type == ValueType::kI8 || type == ValueType::kI16 || type == ValueType::kI32 ||
         type == ValueType::kI64;
}

bool is_integer(ValueType type) {
  return is_signed(type) || type == ValueType::kU8 || type == ValueType::kU16 ||
         type == ValueType::kU32 || type == ValueType::kU64;
}

u64 scalar_bits(ValueType type, std::span<const u8> raw) {
  u64 bits = little_endian(raw);
  if (!is_signed(type) || raw.size() == 8) return bits;
  u64 shift = 64 - 8 * raw.size();
  return static_cast<u64>(static_cast<i64>(bits << shift) >> shift);
}

f64 real_of_bits(ValueType type, u64 bits) {
  if (type == ValueType::kF64) return std::bit_cast<f64>(bits);
  return static_cast<f64>(std::bit_cast<f32>(static_cast<u32>(bits)));
}

Error wrong_type(std::string_view key, const Value& value, std::string_view expected) {
  std::string found(name(value.type));
  if (value.type == ValueType::kArray) found += fmt::format(" of {}", name(value.element_type));
  return Error{Code::kInvalid,
               fmt::format("gguf: key {} is of type {}, expected {}", quote(key), found, expected)};
}

}  // namespace

class Parser {
 public:
  explicit Parser(std::span<const u8> bytes) : bytes_(bytes), in_(bytes, "gguf") {}

  Result<File> parse() {
    TG_TRY(read_header());
    for (u64 i = 0; i < keys_; ++i) TG_TRY(read_key_value());
    TG_TRY(apply_settings());
    for (u64 i = 0; i < tensors_; ++i) TG_TRY(read_tensor());
    TG_TRY(place_tensors());
    return std::move(file_);
  }

 private:
  Status read_header();
  Status read_key_value();
  Result<Value> read_value(ValueType type);
  Result<Value> read_array();
  Status walk_elements(ValueType type, u64 count, i32 depth);
  Result<ValueType> read_type();
  Result<std::string_view> read_string(u64 bytes_max, std::string_view what);
  Status apply_settings();
  Status read_tensor();
  Result<std::vector<i64>> read_dims(std::string_view tensor);
  Status size_tensor(Tensor& tensor) const;
  Status place_tensors();
  Status check_overlap() const;

  std::span<const u8> bytes_;
  Reader in_;
  File file_;
  u64 keys_ = 0;
  u64 tensors_ = 0;
};

Status Parser::read_header() {
  TG_ASSIGN(u32 magic, in_.u32_le());
  if (magic != kMagic) return corrupt(fmt::format("magic is {:#010x}, not 'GGUF'", magic));
  TG_ASSIGN(file_.version_, in_.u32_le());
  if (file_.version_ < kVersionMin || file_.version_ > kVersionMax) {
    bool is_big_endian = (file_.version_ & 0xFFFF) == 0 && file_.version_ != 0;
    return Error{Code::kUnsupported, fmt::format("gguf: version {} is not read{}", file_.version_,
                                                 is_big_endian ? " (a big-endian file?)" : "")};
  }
  TG_ASSIGN(tensors_, in_.u64_le());
  TG_ASSIGN(keys_, in_.u64_le());
  if (tensors_ > kTensorsMax) return over_limit("tensor count", tensors_, kTensorsMax);
  if (keys_ > kKeysMax) return over_limit("key count", keys_, kKeysMax);
  return {};
}

Result<std::string_view> Parser::read_string(u64 bytes_max, std::string_view what) {
  TG_ASSIGN(u64 length, in_.u64_le());
  if (length > bytes_max)
    return over_limit(fmt::format("{} at byte {} of length", what, in_.offset() - 8), length,
                      bytes_max);
  TG_ASSIGN(std::span<const u8> raw, in_.bytes(length));
  return as_text(raw);
}

Result<ValueType> Parser::read_type() {
  TG_ASSIGN(u32 type, in_.u32_le());
  if (type >= static_cast<u32>(ValueType::kCount))
    return corrupt(fmt::format("value type {} at byte {} is not known", type, in_.offset() - 4));
  return static_cast<ValueType>(type);
}

Status Parser::read_key_value() {
  TG_ASSIGN(std::string_view key, read_string(kNameBytesMax, "key"));
  if (key.empty() || !is_utf8(key)) return corrupt("key " + quote(key) + " is not a name");
  TG_ASSIGN(ValueType type, read_type());
  Result<Value> value = read_value(type);
  if (!value.ok()) {
    Error error = std::move(value).error();
    error.message += " (value of key " + quote(key) + ")";
    return error;
  }
  if (!file_.metadata_.emplace(key, *value).second)
    return corrupt("key " + quote(key) + " appears twice");
  return {};
}

Result<Value> Parser::read_value(ValueType type) {
  if (type == ValueType::kArray) return read_array();
  Value value{.type = type};
  if (type == ValueType::kString) {
    TG_ASSIGN(value.text, read_string(kStringBytesMax, "string"));
    return value;
  }
  TG_ASSIGN(std::span<const u8> raw, in_.bytes(scalar_bytes(type)));
  value.bits = scalar_bits(type, raw);
  if (type == ValueType::kBool && value.bits > 1)
    return corrupt(fmt::format("bool at byte {} is {}", in_.offset() - 1, value.bits));
  return value;
}

Result<Value> Parser::read_array() {
  Value value{.type = ValueType::kArray};
  TG_ASSIGN(value.element_type, read_type());
  TG_ASSIGN(value.count, in_.u64_le());
  u64 begin = in_.offset();
  TG_TRY(walk_elements(value.element_type, value.count, 1));
  value.elements = bytes_.subspan(begin, in_.offset() - begin);
  return value;
}

Status Parser::walk_elements(ValueType type, u64 count, i32 depth) {
  if (depth > kArrayNestingMax)
    return over_limit("array nesting", static_cast<u64>(depth), kArrayNestingMax);
  if (count > kArrayElementsMax) return over_limit("array length", count, kArrayElementsMax);
  if (u64 bytes = scalar_bytes(type); bytes > 0) return in_.skip(count * bytes);
  for (u64 i = 0; i < count; ++i) {
    if (type == ValueType::kString) {
      TG_TRY(read_string(kStringBytesMax, "string"));
      continue;
    }
    TG_ASSIGN(ValueType inner, read_type());
    TG_ASSIGN(u64 inner_count, in_.u64_le());
    TG_TRY(walk_elements(inner, inner_count, depth + 1));
  }
  return {};
}

Status Parser::apply_settings() {
  TG_ASSIGN(std::optional<u64> alignment, file_.integer("general.alignment"));
  u64 wanted = alignment.value_or(kAlignmentDefault);
  if (!std::has_single_bit(wanted) || wanted < kAlignmentMin || wanted > kAlignmentMax)
    return corrupt(fmt::format("general.alignment {} is not a power of two from {} to {}", wanted,
                               kAlignmentMin, kAlignmentMax));
  file_.alignment_ = static_cast<u32>(wanted);
  TG_ASSIGN(std::optional<bool> no_data, file_.boolean(kNoDataKey));
  file_.has_data_ = !no_data.value_or(false);
  return {};
}

Result<std::vector<i64>> Parser::read_dims(std::string_view tensor) {
  TG_ASSIGN(u32 rank, in_.u32_le());
  if (rank == 0 || rank > kDimsMax)
    return corrupt(fmt::format("tensor {} has {} dimensions, 1 to {} are read", quote(tensor), rank,
                               kDimsMax));
  std::vector<i64> dims(rank);
  i64 elements = 1;
  for (i64& dim : dims) {
    TG_ASSIGN(u64 size, in_.u64_le());
    if (size == 0 || size > static_cast<u64>(kElementsMax / elements))
      return corrupt(fmt::format("tensor {} has a dimension of {}", quote(tensor), size));
    dim = static_cast<i64>(size);
    elements *= dim;
  }
  // The file lists the fastest dimension first.
  std::reverse(dims.begin(), dims.end());
  return dims;
}

Status Parser::size_tensor(Tensor& tensor) const {
  const isa::DTypeInfo& codec = isa::info(tensor.codec);
  if (tensor.dims.back() % codec.block_elements != 0) {
    return corrupt(fmt::format("tensor {}: rows of {} elements are not whole {} blocks of {}",
                               quote(tensor.name), tensor.dims.back(), codec.name,
                               codec.block_elements));
  }
  // At most 2^48 elements of at most 8 bytes: no product below can wrap.
  u64 bytes = static_cast<u64>(isa::row_bytes(tensor.codec, tensor.dims.back()));
  for (std::size_t i = 0; i + 1 < tensor.dims.size(); ++i)
    bytes *= static_cast<u64>(tensor.dims[i]);
  tensor.bytes = bytes;
  return {};
}

Status Parser::read_tensor() {
  Tensor tensor;
  TG_ASSIGN(tensor.name, read_string(kNameBytesMax, "tensor name"));
  if (tensor.name.empty() || !is_utf8(tensor.name))
    return corrupt("tensor name " + quote(tensor.name) + " is not a name");
  TG_ASSIGN(tensor.dims, read_dims(tensor.name));
  TG_ASSIGN(u32 type, in_.u32_le());
  Result<isa::DType> codec = codec_of_tensor_type(type);
  if (!codec.ok())
    return Error{codec.error().code,
                 fmt::format("gguf: tensor {}: {}", quote(tensor.name), codec.error().message)};
  tensor.codec = *codec;
  TG_ASSIGN(tensor.offset, in_.u64_le());
  TG_TRY(size_tensor(tensor));
  if (tensor.offset % file_.alignment_ != 0)
    return corrupt(fmt::format("tensor {} at offset {} is not aligned to {}", quote(tensor.name),
                               tensor.offset, file_.alignment_));
  if (!file_.tensor_by_name_.emplace(tensor.name, file_.tensors_.size()).second)
    return corrupt("tensor " + quote(tensor.name) + " appears twice");
  file_.tensors_.push_back(std::move(tensor));
  return {};
}

Status Parser::check_overlap() const {
  std::vector<const Tensor*> sorted;
  sorted.reserve(file_.tensors_.size());
  for (const Tensor& tensor : file_.tensors_) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(),
            [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    u64 end = sorted[i - 1]->offset + sorted[i - 1]->bytes;
    if (sorted[i]->offset < end)
      return corrupt(fmt::format("tensor {} at offset {} overlaps {}, which ends at {}",
                                 quote(sorted[i]->name), sorted[i]->offset,
                                 quote(sorted[i - 1]->name), end));
  }
  return {};
}

Status Parser::place_tensors() {
  u64 mask = file_.alignment_ - 1;
  file_.header_bytes_ = (in_.offset() + mask) & ~mask;
  u64 data_bytes = bytes_.size() - std::min<u64>(bytes_.size(), file_.header_bytes_);
  for (Tensor& tensor : file_.tensors_) {
    std::optional<u64> end = checked_add(tensor.offset, tensor.bytes);
    bool fits = end.has_value() && (!file_.has_data_ || *end <= data_bytes);
    if (!fits)
      return corrupt(fmt::format("tensor {} needs {} bytes at offset {}, the data has {}",
                                 quote(tensor.name), tensor.bytes, tensor.offset, data_bytes));
    if (file_.has_data_)
      tensor.data = bytes_.subspan(file_.header_bytes_ + tensor.offset, tensor.bytes);
  }
  return check_overlap();
}

Result<File> File::parse(std::span<const u8> bytes) {
  return Parser(bytes).parse();
}

namespace {

Result<u64> bytes_of(const Tensor& tensor) {
  bool is_sound = !tensor.dims.empty() && tensor.dims.size() <= kDimsMax;
  i64 elements = 1;
  for (i64 dim : tensor.dims) {
    is_sound = is_sound && dim > 0 && dim <= kElementsMax / elements;
    if (is_sound) elements *= dim;
  }
  const isa::DTypeInfo& codec = isa::info(tensor.codec);
  if (!is_sound || tensor.dims.back() % codec.block_elements != 0)
    return Error{Code::kInvalid, fmt::format("gguf: tensor {} cannot be {}{}", quote(tensor.name),
                                             codec.name, dims_text(tensor.dims))};
  return static_cast<u64>(isa::row_bytes(tensor.codec, tensor.dims.back())) *
         static_cast<u64>(elements / tensor.dims.back());
}

}  // namespace

Result<File> File::with_tensors(File keys, std::vector<Tensor> tensors) {
  if (tensors.size() > kTensorsMax) return over_limit("tensor count", tensors.size(), kTensorsMax);
  File file = std::move(keys);
  file.tensors_ = std::move(tensors);
  file.tensor_by_name_.clear();
  for (std::size_t i = 0; i < file.tensors_.size(); ++i) {
    Tensor& tensor = file.tensors_[i];
    TG_ASSIGN(tensor.bytes, bytes_of(tensor));
    bool is_outline = !file.has_data_ && tensor.data.empty();
    if (!is_outline && tensor.data.size() != tensor.bytes)
      return Error{Code::kInvalid,
                   fmt::format("gguf: tensor {} has {} bytes, {}{} needs {}", quote(tensor.name),
                               tensor.data.size(), isa::info(tensor.codec).name,
                               dims_text(tensor.dims), tensor.bytes)};
    if (!file.tensor_by_name_.emplace(tensor.name, i).second)
      return Error{Code::kInvalid,
                   fmt::format("gguf: tensor {} appears twice", quote(tensor.name))};
  }
  return file;
}

const Tensor* File::find_tensor(std::string_view name) const {
  std::map<std::string_view, std::size_t>::const_iterator found = tensor_by_name_.find(name);
  return found == tensor_by_name_.end() ? nullptr : &tensors_[found->second];
}

const Value* File::find(std::string_view key) const {
  std::map<std::string_view, Value>::const_iterator found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

Result<std::optional<u64>> File::integer(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<u64>();
  if (!is_integer(value->type)) return wrong_type(key, *value, "an integer");
  if (is_signed(value->type) && static_cast<i64>(value->bits) < 0)
    return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected no negative number",
                                             quote(key), static_cast<i64>(value->bits))};
  return std::optional<u64>(value->bits);
}

Result<std::optional<f64>> File::real(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<f64>();
  if (value->type != ValueType::kF32 && value->type != ValueType::kF64)
    return wrong_type(key, *value, "f32");
  return std::optional<f64>(real_of_bits(value->type, value->bits));
}

Result<std::optional<bool>> File::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->type != ValueType::kBool) return wrong_type(key, *value, "bool");
  return std::optional<bool>(value->bits != 0);
}

Result<std::optional<std::string_view>> File::text(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  if (value->type != ValueType::kString) return wrong_type(key, *value, "string");
  return std::optional<std::string_view>(value->text);
}

Result<std::optional<std::vector<std::string_view>>> File::texts(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<std::vector<std::string_view>>();
  if (value->type != ValueType::kArray || value->element_type != ValueType::kString)
    return wrong_type(key, *value, "an array of string");
  std::vector<std::string_view> out;
  out.reserve(value->count);
  Reader in(value->elements, "gguf");
  for (u64 i = 0; i < value->count; ++i) {
    TG_ASSIGN(u64 length, in.u64_le());
    TG_ASSIGN(std::span<const u8> raw, in.bytes(length));
    out.push_back(as_text(raw));
  }
  return std::optional<std::vector<std::string_view>>(std::move(out));
}

Result<std::optional<std::vector<f32>>> File::reals(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<std::vector<f32>>();
  if (value->type != ValueType::kArray || value->element_type != ValueType::kF32)
    return wrong_type(key, *value, "an array of f32");
  std::vector<f32> out(value->count);
  for (std::size_t i = 0; i < out.size(); ++i) {
    u64 bits = little_endian(value->elements.subspan(4 * i, 4));
    out[i] = std::bit_cast<f32>(static_cast<u32>(bits));
  }
  return std::optional<std::vector<f32>>(std::move(out));
}

Result<std::optional<std::vector<i64>>> File::integers(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<std::vector<i64>>();
  if (value->type != ValueType::kArray || !is_integer(value->element_type))
    return wrong_type(key, *value, "an array of integers");
  u64 bytes = scalar_bytes(value->element_type);
  std::vector<i64> out(value->count);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::span<const u8> raw = value->elements.subspan(bytes * i, bytes);
    out[i] = static_cast<i64>(scalar_bits(value->element_type, raw));
  }
  return std::optional<std::vector<i64>>(std::move(out));
}

}  // namespace tg::gguf
