// The error texts of configuration keys live here once.
#include "model/huggingface/config.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "env/disk.h"
#include "model/gguf/format.h"

namespace tg::checkpoint {

Result<Json> read_object_file(const std::string& directory, std::string_view file) {
  std::filesystem::path path = std::filesystem::path(directory) / file;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return Error{Code::kNotFound, fmt::format("{} is missing", file)};
  TG_ASSIGN(std::string text, read_file(path.string(), kConfigBytesMax));
  Result<Json> json = parse_json(text);
  if (!json.ok())
    return Error{json.error().code, fmt::format("{}: {}", file, json.error().message)};
  if (json->kind != Json::Kind::kObject)
    return Error{Code::kCorrupt, fmt::format("{}: not an object", file)};
  return json;
}

std::string Config::full(std::string_view key) const {
  return fmt::format("{}: key {}", file_, gguf::quote(path_ + std::string(key)));
}

const Json* Config::find(std::string_view key) const {
  const Json* value = object_->find(key);
  return value == nullptr || value->kind == Json::Kind::kNull ? nullptr : value;
}

Result<const Json*> Config::need(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return Error{Code::kNotFound, full(key) + " is missing"};
  return value;
}

Error Config::wrong(std::string_view key, std::string_view expectation) const {
  const Json* value = find(key);
  return Error{Code::kInvalid,
               fmt::format("{} is {}, {}", full(key), value == nullptr ? "absent" : show(*value),
                           expectation)};
}

Error Config::unsupported(std::string_view key) const {
  Error error = wrong(key, "which is not supported");
  error.code = Code::kUnsupported;
  return error;
}

Result<i64> Config::integer(std::string_view key, i64 low) const {
  TG_ASSIGN(const Json* value, need(key));
  bool is_fit = value->kind == Json::Kind::kInteger && value->integer >= low &&
                value->integer <= i64{INT32_MAX};
  if (!is_fit) return wrong(key, fmt::format("expected a whole number from {}", low));
  return value->integer;
}

Result<f64> Config::real(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  bool is_number = value->kind == Json::Kind::kInteger || value->kind == Json::Kind::kReal;
  if (!is_number || !std::isfinite(value->real)) return wrong(key, "expected a number");
  return value->real;
}

Result<bool> Config::boolean(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  if (value->kind != Json::Kind::kBool) return wrong(key, "expected true or false");
  return value->boolean;
}

Result<std::string> Config::text(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  if (value->kind != Json::Kind::kText) return wrong(key, "expected a text");
  return value->text;
}

Result<std::vector<f64>> Config::reals(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  if (value->kind != Json::Kind::kArray) return wrong(key, "expected a list of numbers");
  std::vector<f64> out;
  for (const Json& item : value->items) {
    bool is_number = item.kind == Json::Kind::kInteger || item.kind == Json::Kind::kReal;
    if (!is_number) return wrong(key, "expected a list of numbers");
    out.push_back(item.real);
  }
  return out;
}

Result<std::vector<std::string>> Config::texts(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  if (value->kind != Json::Kind::kArray) return wrong(key, "expected a list of texts");
  std::vector<std::string> out;
  for (const Json& item : value->items) {
    if (item.kind != Json::Kind::kText) return wrong(key, "expected a list of texts");
    out.push_back(item.text);
  }
  return out;
}

Result<Config> Config::object(std::string_view key) const {
  TG_ASSIGN(const Json* value, need(key));
  if (value->kind != Json::Kind::kObject) return wrong(key, "expected an object");
  return Config(*value, file_, fmt::format("{}{}.", path_, key));
}

Result<i64> Config::integer_or(std::string_view key, i64 low, i64 otherwise) const {
  if (!has(key)) return otherwise;
  return integer(key, low);
}

Result<f64> Config::real_or(std::string_view key, f64 otherwise) const {
  if (!has(key)) return otherwise;
  return real(key);
}

Result<bool> Config::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  return boolean(key);
}

Result<std::string> Config::text_or(std::string_view key, std::string_view otherwise) const {
  if (!has(key)) return std::string(otherwise);
  return text(key);
}

}  // namespace tg::checkpoint
