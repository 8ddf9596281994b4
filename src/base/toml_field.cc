#include "base/toml_field.h"

#include <algorithm>
#include <charconv>

namespace tg {

namespace {

// "2.5" in units of 10^-decimals; nothing if it is not a decimal number, negative, or needs
// rounding.
std::optional<i64> parse_decimal(std::string_view text, i64 decimals) {
  std::size_t dot = std::min(text.find('.'), text.size());
  std::string digits(text.substr(0, dot));
  std::string_view fraction = dot < text.size() ? text.substr(dot + 1) : std::string_view{};
  if (digits.empty() || static_cast<i64>(fraction.size()) > decimals) return std::nullopt;
  if (dot < text.size() && fraction.empty()) return std::nullopt;
  digits += fraction;
  digits.append(static_cast<std::size_t>(decimals) - fraction.size(), '0');
  if (digits[0] == '-') return std::nullopt;
  i64 value = 0;
  std::from_chars_result end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

Error toml_error(std::string_view file, i64 line, std::string_view what) {
  return Error{Code::kInvalid, fmt::format("{}, line {}: {}", file, line, what)};
}

Error Field::error(std::string_view what) const {
  return toml_error(file, node.source().begin.line, fmt::format("{} {}", key, what));
}

Result<std::string> Field::text() const {
  if (!node.is_string()) return error("must be a string");
  return node.as_string()->get();
}

Result<i64> Field::number(i64 low, i64 high) const {
  if (!node.is_integer()) return error("must be a whole number");
  i64 value = node.as_integer()->get();
  if (value < low || value > high)
    return error(fmt::format("is {}, not within {}..{}", value, low, high));
  return value;
}

Result<i64> Field::amount(i64 decimals) const {
  if (node.is_integer()) return number(0, INT64_MAX);
  if (!node.is_string()) return error("must be a whole number or a decimal in quotes");
  const std::string& decimal = node.as_string()->get();
  std::optional<i64> value = parse_decimal(decimal, decimals);
  if (value) return *value;
  return error(
      fmt::format("is \"{}\", not a decimal of at most {} places in range", decimal, decimals));
}

Result<std::vector<std::string>> Field::texts(i64 count_max) const {
  if (!node.is_array()) return error("must be a list of strings");
  std::vector<std::string> out;
  for (const toml::node& entry : *node.as_array()) {
    TG_ASSIGN(std::string value, (Field{file, key, entry}.text()));
    out.push_back(std::move(value));
    if (static_cast<i64>(out.size()) > count_max)
      return error(fmt::format("has more than {} entries", count_max));
  }
  return out;
}

Result<toml::table> parse_table(std::string_view text, std::string_view file, u64 bytes_max) {
  if (text.size() > bytes_max)
    return Error{Code::kLimit, fmt::format("{}: {} bytes, above {}", file, text.size(), bytes_max)};
  toml::parse_result parsed = toml::parse(text, file);
  if (parsed) return std::move(parsed).table();
  return toml_error(file, parsed.error().source().begin.line, parsed.error().description());
}

}  // namespace tg
