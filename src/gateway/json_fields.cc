#include "gateway/json_fields.h"

#include <fmt/format.h>

#include <cmath>

namespace tg::gateway {

// The value as it was written, short enough for an error message.
std::string shown(dom::element value) {
  constexpr std::size_t kShownMax = 60;
  std::string text = simdjson::to_string(value);
  if (text.size() > kShownMax) text = text.substr(0, kShownMax) + "...";
  return text;
}

ApiError wrong_type(std::string_view name, std::string_view wanted, dom::element value) {
  ApiError error = invalid_value(
      std::string(name), fmt::format("'{}' must be {}, not {}", name, wanted, shown(value)));
  error.code = "invalid_type";
  return error;
}

Problem read_real(std::string_view name, dom::element value, Range range, f32& out) {
  f64 number = 0;
  if (!value.is_number() || value.get(number) != simdjson::SUCCESS) {
    return wrong_type(name, "a number", value);
  }
  if (!(number >= range.low && number <= range.high)) {
    return invalid_value(std::string(name), fmt::format("'{}' must be between {} and {}, not {}",
                                                        name, range.low, range.high, shown(value)));
  }
  out = static_cast<f32>(number);
  return std::nullopt;
}

Problem read_integer(std::string_view name, dom::element value, IntegerRange range, i64& out) {
  if (value.get(out) != simdjson::SUCCESS) {
    f64 real = 0;
    bool is_whole = value.is_double() && value.get(real) == simdjson::SUCCESS &&
                    std::floor(real) == real && std::abs(real) < 0x1p53;
    if (!is_whole && !value.is_uint64()) return wrong_type(name, "an integer", value);
    out = is_whole ? static_cast<i64>(real) : INT64_MAX;
  }
  if (out < range.low || out > range.high) {
    return invalid_value(std::string(name), fmt::format("'{}' must be between {} and {}, not {}",
                                                        name, range.low, range.high, shown(value)));
  }
  return std::nullopt;
}

Problem read_bool(std::string_view name, dom::element value, bool& out) {
  if (value.get(out) != simdjson::SUCCESS) return wrong_type(name, "true or false", value);
  return std::nullopt;
}

Problem read_string(std::string_view name, dom::element value, std::string& out) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return wrong_type(name, "a string", value);
  out = text;
  return std::nullopt;
}

bool is_absent(simdjson::simdjson_result<dom::element> field) {
  return field.error() != simdjson::SUCCESS || field.value_unsafe().is_null();
}

std::string json_text(dom::element value) {
  return simdjson::minify(value);
}

std::string object_json(std::string_view text) {
  dom::parser parser;
  dom::element value;
  bool is_object =
      parser.parse(text.data(), text.size()).get(value) == simdjson::SUCCESS && value.is_object();
  return is_object ? json_text(value) : std::string();
}

ApiError missing_field(std::string name) {
  ApiError error = invalid_value(name, fmt::format("'{}' is required", name));
  error.code = "missing_required_parameter";
  return error;
}

static ApiError not_json(simdjson::error_code error) {
  ApiError problem = {
      .message = fmt::format("the body is not valid JSON: {}", simdjson::error_message(error))};
  problem.code = "invalid_json";
  return problem;
}

// One while nobody has it.
static thread_local std::unique_ptr<dom::parser> spare_parser;

ReusedParser::ReusedParser() : parser_(std::move(spare_parser)) {
  if (parser_ == nullptr) parser_ = std::make_unique<dom::parser>();
}

ReusedParser::~ReusedParser() {
  constexpr std::size_t kKeptBytes = 16 * 1'024;
  if (parser_->capacity() <= kKeptBytes) spare_parser = std::move(parser_);
}

Problem parse_object(dom::parser& parser, std::string_view body, dom::object& out) {
  dom::element root;
  if (simdjson::error_code error = parser.parse(body.data(), body.size()).get(root)) {
    return not_json(error);
  }
  if (root.get(out) != simdjson::SUCCESS) {
    return ApiError{.message = "the body must be a JSON object", .code = "invalid_json"};
  }
  return std::nullopt;
}

}  // namespace tg::gateway
