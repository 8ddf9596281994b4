// Two handlers of nlohmann's event parser. It keeps its own stack as bits, so depth costs nothing;
// it reports errors through the handler, so nothing is thrown.
#include "model/safetensors/header.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "model/gguf/format.h"

namespace tg::safetensors {
namespace {

using gguf::quote;

// What both handlers share: the first error stops the parser.
class Handler {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  explicit Handler(std::string_view what) : what_(what) {}
  const std::optional<Error>& error() const { return error_; }

  // The library's own text repeats the input; the place says enough.
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    return fail(Code::kCorrupt, fmt::format("not JSON at byte {}", position));
  }

 protected:
  bool fail(Code code, std::string_view message) {
    if (!error_.has_value()) error_ = Error{code, fmt::format("{}: {}", what_, message)};
    return false;
  }

 private:
  std::string_view what_;
  std::optional<Error> error_;
};

class HeaderHandler : public Handler {
 public:
  HeaderHandler() : Handler("safetensors") {}
  Header take() { return std::move(header_); }

  bool null() { return unexpected(); }
  bool boolean(bool) { return unexpected(); }
  bool number_integer(number_integer_t value) {
    if (place_ != Place::kShape && place_ != Place::kOffsets) return unexpected();
    return fail(Code::kCorrupt, fmt::format("tensor {} has a negative number {}", here(), value));
  }
  bool number_float(number_float_t, const string_t& text) {
    return fail(Code::kCorrupt, fmt::format("tensor {}: {} is not a count", here(), quote(text)));
  }
  bool binary(binary_t&) { return unexpected(); }
  bool number_unsigned(number_unsigned_t value);
  bool string(string_t& text);
  bool start_object(std::size_t);
  bool key(string_t& name);
  bool end_object();
  bool start_array(std::size_t);
  bool end_array();

 private:
  enum class Place { kOutside, kTop, kName, kTensor, kDType, kShape, kOffsets, kMetadata, kDone };

  std::string here() const {
    return header_.tensors.empty() ? "''" : quote(header_.tensors.back().name);
  }
  bool unexpected();
  bool top_key(string_t& name);
  bool tensor_key(const string_t& name);

  Header header_;
  Place place_ = Place::kOutside;
  bool in_array_ = false;
  bool is_metadata_ = false;  // the object that kName waits for
  u64 metadata_bytes_ = 0;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  u64 offsets_ = 0;
};

bool HeaderHandler::unexpected() {
  switch (place_) {
    case Place::kOutside: return fail(Code::kCorrupt, "the header is not an object");
    case Place::kName:
      return fail(Code::kCorrupt,
                  fmt::format("{} is not an object",
                              is_metadata_ ? std::string(kMetadataKey) : "tensor " + here()));
    case Place::kDType:
      return fail(Code::kCorrupt, fmt::format("tensor {}: dtype is not a text", here()));
    case Place::kShape:
      return fail(Code::kCorrupt, fmt::format("tensor {}: shape is not a list of counts", here()));
    case Place::kOffsets:
      return fail(Code::kCorrupt,
                  fmt::format("tensor {}: data_offsets is not a list of two counts", here()));
    case Place::kMetadata: return fail(Code::kCorrupt, "__metadata__ holds more than texts");
    default: break;
  }
  return fail(Code::kCorrupt, "a value stands where none is expected");
}

bool HeaderHandler::number_unsigned(number_unsigned_t value) {
  if (!in_array_ || (place_ != Place::kShape && place_ != Place::kOffsets)) return unexpected();
  HeaderEntry& entry = header_.tensors.back();
  if (place_ == Place::kOffsets) {
    if (offsets_ == 2) return unexpected();
    (offsets_++ == 0 ? entry.begin : entry.end) = value;
    return true;
  }
  if (entry.dims.size() == kDimsMax)
    return fail(Code::kLimit,
                fmt::format("tensor {} has more than {} dimensions", here(), kDimsMax));
  if (value > kElementsMax)
    return fail(Code::kLimit, fmt::format("tensor {} has a dimension of {}", here(), value));
  entry.dims.push_back(static_cast<i64>(value));
  return true;
}

bool HeaderHandler::string(string_t& text) {
  if (place_ == Place::kMetadata) {
    metadata_bytes_ += text.size();
    if (metadata_bytes_ > kMetadataBytesMax)
      return fail(Code::kLimit,
                  fmt::format("__metadata__ is over the limit of {} bytes", kMetadataBytesMax));
    header_.metadata.back().second = std::move(text);
    return true;
  }
  if (place_ != Place::kDType) return unexpected();
  std::optional<DType> dtype = dtype_by_name(text);
  if (!dtype.has_value())
    return fail(Code::kUnsupported,
                fmt::format("tensor {}: dtype {} is not known", here(), quote(text)));
  header_.tensors.back().dtype = *dtype;
  place_ = Place::kTensor;
  return true;
}

bool HeaderHandler::start_object(std::size_t) {
  if (place_ == Place::kOutside) {
    place_ = Place::kTop;
    return true;
  }
  if (place_ != Place::kName) return unexpected();
  place_ = is_metadata_ ? Place::kMetadata : Place::kTensor;
  has_dtype_ = has_shape_ = has_offsets_ = false;
  return true;
}

bool HeaderHandler::key(string_t& name) {
  if (place_ == Place::kTop) return top_key(name);
  if (place_ == Place::kTensor) return tensor_key(name);
  TG_ASSERT(place_ == Place::kMetadata);
  metadata_bytes_ += name.size() + sizeof(header_.metadata[0]);
  header_.metadata.emplace_back(std::move(name), "");
  return true;
}

bool HeaderHandler::top_key(string_t& name) {
  place_ = Place::kName;
  is_metadata_ = name == kMetadataKey;
  if (is_metadata_) return true;
  if (name.empty() || name.size() > kNameBytesMax)
    return fail(Code::kLimit, fmt::format("a tensor's name has {} bytes, 1 to {} are read",
                                          name.size(), kNameBytesMax));
  if (header_.tensors.size() == kTensorsMax)
    return fail(Code::kLimit, fmt::format("more than {} tensors", kTensorsMax));
  header_.tensors.push_back({.name = std::move(name)});
  return true;
}

bool HeaderHandler::tensor_key(const string_t& name) {
  bool* seen = nullptr;
  if (name == "dtype") {
    place_ = Place::kDType;
    seen = &has_dtype_;
  } else if (name == "shape") {
    place_ = Place::kShape;
    seen = &has_shape_;
  } else if (name == "data_offsets") {
    place_ = Place::kOffsets;
    seen = &has_offsets_;
    offsets_ = 0;
  } else {
    return fail(Code::kCorrupt, fmt::format("tensor {} has a member {}", here(), quote(name)));
  }
  if (*seen)
    return fail(Code::kCorrupt, fmt::format("tensor {} has two members {}", here(), quote(name)));
  *seen = true;
  return true;
}

bool HeaderHandler::end_object() {
  if (place_ == Place::kTop) {
    place_ = Place::kDone;
    return true;
  }
  if (place_ == Place::kTensor && !(has_dtype_ && has_shape_ && has_offsets_))
    return fail(Code::kCorrupt, fmt::format("tensor {} has no {}", here(),
                                            !has_dtype_   ? "dtype"
                                            : !has_shape_ ? "shape"
                                                          : "data_offsets"));
  place_ = Place::kTop;
  return true;
}

bool HeaderHandler::start_array(std::size_t) {
  if (in_array_ || (place_ != Place::kShape && place_ != Place::kOffsets)) return unexpected();
  in_array_ = true;
  return true;
}

bool HeaderHandler::end_array() {
  in_array_ = false;
  if (place_ == Place::kOffsets && offsets_ != 2) return unexpected();
  place_ = Place::kTensor;
  return true;
}

// Remembers how deep it is; depth 2 below the key weight_map is the map.
class IndexHandler : public Handler {
 public:
  IndexHandler() : Handler("model.safetensors.index.json") {}
  bool has_map() const { return has_map_; }
  std::vector<std::pair<std::string, std::string>> take() { return std::move(entries_); }

  bool null() { return scalar(); }
  bool boolean(bool) { return scalar(); }
  bool number_integer(number_integer_t) { return scalar(); }
  bool number_unsigned(number_unsigned_t) { return scalar(); }
  bool number_float(number_float_t, const string_t&) { return scalar(); }
  bool binary(binary_t&) { return scalar(); }
  bool string(string_t& text) {
    if (!in_map_) return scalar();
    entries_.back().second = std::move(text);
    return true;
  }
  bool start_object(std::size_t) {
    if (in_map_) return wrong();
    if (depth_ == 1 && at_map_) in_map_ = true;
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    in_map_ = false;
    return true;
  }
  bool start_array(std::size_t) {
    if (in_map_ || depth_ == 0 || (depth_ == 1 && at_map_)) return wrong();
    ++depth_;
    return true;
  }
  bool end_array() {
    --depth_;
    return true;
  }
  bool key(string_t& name) {
    if (in_map_) return map_key(name);
    if (depth_ != 1) return true;
    at_map_ = name == "weight_map";
    if (at_map_ && has_map_) return fail(Code::kCorrupt, "two members 'weight_map'");
    has_map_ = has_map_ || at_map_;
    return true;
  }

 private:
  bool wrong() { return fail(Code::kCorrupt, "weight_map is not an object of texts"); }
  bool scalar() { return in_map_ || depth_ == 0 || (depth_ == 1 && at_map_) ? wrong() : true; }
  bool map_key(string_t& name) {
    if (name.empty() || name.size() > kNameBytesMax)
      return fail(Code::kLimit, fmt::format("a tensor's name has {} bytes, 1 to {} are read",
                                            name.size(), kNameBytesMax));
    if (entries_.size() == kTensorsMax)
      return fail(Code::kLimit, fmt::format("more than {} tensors", kTensorsMax));
    entries_.emplace_back(std::move(name), "");
    return true;
  }

  std::vector<std::pair<std::string, std::string>> entries_;
  u64 depth_ = 0;
  bool at_map_ = false;
  bool in_map_ = false;
  bool has_map_ = false;
};

template <typename T>
Status run(std::string_view json, T& handler) {
  bool is_done = nlohmann::json::sax_parse(json, &handler);
  if (handler.error().has_value()) return *handler.error();
  TG_ASSERT(is_done);
  return {};
}

}  // namespace

Result<Header> read_header(std::string_view json) {
  HeaderHandler handler;
  TG_TRY(run(json, handler));
  return handler.take();
}

Result<std::vector<std::pair<std::string, std::string>>> read_index(std::string_view json) {
  IndexHandler handler;
  TG_TRY(run(json, handler));
  if (!handler.has_map())
    return Error{Code::kNotFound, "model.safetensors.index.json: weight_map is missing"};
  return handler.take();
}

}  // namespace tg::safetensors
