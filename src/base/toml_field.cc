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

bool is_bare(char c) {
  constexpr std::string_view kOthers = "_-+.,=[]{}: \t\r\n";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kOthers.find(c) != std::string_view::npos;
}

// Behind the string that begins at `at`, or at the text's end if it does not close.
std::size_t skip_string(std::string_view text, std::size_t at) {
  char quote = text[at];
  std::string three(3, quote);
  bool is_long = text.substr(at, 3) == three;
  std::size_t i = at + (is_long ? 3 : 1);
  while (i < text.size()) {
    if (quote == '"' && text[i] == '\\') {
      i += 2;
    } else if (is_long && text.substr(i, 3) == three) {
      return i + 3;
    } else if (!is_long && (text[i] == quote || text[i] == '\n')) {
      return i + 1;
    } else {
      ++i;
    }
  }
  return text.size();
}

// The first character outside strings and comments that TOML has no use for, or the text's end.
std::size_t find_stranger(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::size_t i = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  while (i < text.size()) {
    if (text[i] == '#') {
      i = std::min(text.find('\n', i), text.size());
    } else if (text[i] == '"' || text[i] == '\'') {
      i = skip_string(text, i);
    } else if (is_bare(text[i])) {
      ++i;
    } else {
      return i;
    }
  }
  return text.size();
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
  std::size_t stranger = find_stranger(text);
  if (stranger < text.size()) {
    std::string_view before = text.substr(0, stranger);
    i64 line = 1 + std::count(before.begin(), before.end(), '\n');
    return toml_error(
        file, line, fmt::format("byte {:#04x} outside a string", static_cast<u8>(text[stranger])));
  }
  toml::parse_result parsed = toml::parse(text, file);
  if (parsed) return std::move(parsed).table();
  return toml_error(file, parsed.error().source().begin.line, parsed.error().description());
}

}  // namespace tg
