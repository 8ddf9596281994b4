// A handler of nlohmann's event parser builds the tree. The parser reports errors through the
// handler, so nothing is thrown.
#include "model/huggingface/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/gguf/format.h"

namespace tg::checkpoint {
namespace {

class Builder {
 public:
  using Source = nlohmann::json;

  explicit Builder(Json& root) : root_(root) {}
  const std::optional<Error>& error() const { return error_; }

  bool null() { return add({.kind = Json::Kind::kNull}) != nullptr; }
  bool boolean(bool value) { return add({.kind = Json::Kind::kBool, .boolean = value}) != nullptr; }
  bool number_integer(Source::number_integer_t value) {
    return add({.kind = Json::Kind::kInteger, .integer = value, .real = static_cast<f64>(value)}) !=
           nullptr;
  }
  bool number_unsigned(Source::number_unsigned_t value) {
    if (value > static_cast<u64>(INT64_MAX)) return number_float(static_cast<f64>(value), {});
    return number_integer(static_cast<i64>(value));
  }
  bool number_float(Source::number_float_t value, const Source::string_t&) {
    return add({.kind = Json::Kind::kReal, .real = value}) != nullptr;
  }
  bool string(Source::string_t& text) {
    return add({.kind = Json::Kind::kText, .text = std::move(text)}) != nullptr;
  }
  bool binary(Source::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::Kind::kObject); }
  bool start_array(std::size_t) { return open(Json::Kind::kArray); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(Source::string_t& name);
  bool parse_error(std::size_t position, const std::string&, const Source::exception&) {
    return fail(Code::kCorrupt, fmt::format("not JSON at byte {}", position));
  }

 private:
  bool fail(Code code, std::string message) {
    if (!error_.has_value()) error_ = Error{code, std::move(message)};
    return false;
  }
  Json* add(Json value);
  bool open(Json::Kind kind);
  bool close() {
    open_.pop_back();
    return true;
  }

  Json& root_;
  // A container only grows while it is the innermost, so these stay good.
  std::vector<Json*> open_;
  std::size_t values_ = 0;
  std::optional<Error> error_;
};

Json* Builder::add(Json value) {
  if (++values_ > kJsonValuesMax) {
    fail(Code::kLimit, fmt::format("more than {} values", kJsonValuesMax));
    return nullptr;
  }
  if (open_.empty()) {
    root_ = std::move(value);
    return &root_;
  }
  Json& parent = *open_.back();
  if (parent.kind == Json::Kind::kArray) return &parent.items.emplace_back(std::move(value));
  parent.members.back().value = std::move(value);
  return &parent.members.back().value;
}

bool Builder::open(Json::Kind kind) {
  if (open_.size() == kJsonDepthMax)
    return fail(Code::kLimit, fmt::format("nested deeper than {}", kJsonDepthMax));
  Json* value = add({.kind = kind});
  if (value != nullptr) open_.push_back(value);
  return value != nullptr;
}

bool Builder::key(Source::string_t& name) {
  open_.back()->members.push_back({.name = std::move(name), .value = {}});
  return true;
}

// By sorting, for an object may have very many members.
std::optional<Error> find_equal_keys(const Json& value) {
  std::vector<std::string_view> names;
  for (const JsonMember& member : value.members) {
    names.push_back(member.name);
    if (std::optional<Error> error = find_equal_keys(member.value)) return error;
  }
  for (const Json& item : value.items)
    if (std::optional<Error> error = find_equal_keys(item)) return error;
  std::sort(names.begin(), names.end());
  std::vector<std::string_view>::iterator twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return std::nullopt;
  return Error{Code::kCorrupt, fmt::format("key {} appears twice", gguf::quote(*twice))};
}

}  // namespace

const Json* Json::find(std::string_view name) const {
  for (const JsonMember& member : members)
    if (member.name == name) return &member.value;
  return nullptr;
}

Result<Json> parse_json(std::string_view text) {
  if (text.size() > kConfigBytesMax)
    return Error{Code::kLimit,
                 fmt::format("{} bytes are over the limit of {}", text.size(), kConfigBytesMax)};
  Json root;
  Builder builder(root);
  bool is_done = nlohmann::json::sax_parse(text, &builder);
  if (builder.error().has_value()) return *builder.error();
  TG_ASSERT(is_done);
  if (std::optional<Error> error = find_equal_keys(root)) return *error;
  return root;
}

std::string show(const Json& value) {
  switch (value.kind) {
    case Json::Kind::kNull: return "null";
    case Json::Kind::kBool: return value.boolean ? "true" : "false";
    case Json::Kind::kInteger: return std::to_string(value.integer);
    case Json::Kind::kReal: return fmt::format("{}", value.real);
    case Json::Kind::kText: return gguf::quote(value.text);
    case Json::Kind::kArray: return value.items.empty() ? "[]" : "a list";
    case Json::Kind::kObject: break;
  }
  return value.members.empty() ? "{}" : "an object";
}

}  // namespace tg::checkpoint
