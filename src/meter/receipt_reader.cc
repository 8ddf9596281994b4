// The readers of receipt_text.h: lines and fields of any version.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/checked.h"
#include "meter/receipt_text.h"

namespace tg::meter {

bool is_name(std::string_view text) {
  return !text.empty() && static_cast<i64>(text.size()) <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), is_name_byte);
}

Result<std::string_view> LineReader::line(std::string_view key) {
  ++number_;
  std::size_t end = rest_.find('\n');
  if (end == std::string_view::npos) return wrong(key);
  std::string_view whole = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  if (!whole.starts_with(key)) return wrong(key);
  whole.remove_prefix(key.size());
  if (whole.empty()) return whole;
  if (whole.front() != ' ') return wrong(key);
  return whole.substr(1);
}

bool LineReader::next_is(std::string_view key) const {
  return rest_.starts_with(key) && rest_.size() > key.size() && rest_[key.size()] == ' ';
}

Error LineReader::wrong(std::string_view key) const {
  return Error{Code::kInvalid,
               fmt::format("receipt: line {} is not a valid '{}' line", number_, key)};
}

Result<FieldReader> FieldReader::next(LineReader& lines, std::string_view key) {
  TG_ASSIGN(std::string_view fields, lines.line(key));
  return FieldReader(lines, key, fields);
}

Result<std::string_view> FieldReader::text(std::string_view prefix) {
  std::size_t end = rest_.find(' ');
  std::string_view field = rest_.substr(0, end);
  rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
  if (!field.starts_with(prefix)) return wrong();
  return field.substr(prefix.size());
}

Result<std::string> FieldReader::name(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  if (!is_name(field)) return wrong();
  return std::string(field);
}

Result<i64> FieldReader::number(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  return parse_number(field);
}

Result<i64> FieldReader::parse_number(std::string_view field) const {
  i64 value = 0;
  std::from_chars_result end = std::from_chars(field.data(), field.data() + field.size(), value);
  if (end.ec != std::errc() || end.ptr != field.data() + field.size() || value < 0) return wrong();
  return value;
}

Result<u128> FieldReader::wide(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  if (field.empty() || field.front() == '-') return wrong();
  constexpr std::size_t kSmallDigits = 18;  // what an i64 always holds, which nearly all are
  if (field.size() <= kSmallDigits) {
    TG_ASSIGN(i64 small, parse_number(field));
    return static_cast<u128>(small);
  }
  u128 value = 0;
  for (char c : field) {
    if (c < '0' || c > '9') return wrong();
    std::optional<u128> tens = checked_mul<u128>(value, 10);
    std::optional<u128> sum =
        tens ? checked_add<u128>(*tens, static_cast<u128>(c - '0')) : std::nullopt;
    if (!sum) return wrong();
    value = *sum;
  }
  return value;
}

Result<u128> FieldReader::id(std::string_view prefix) {
  TG_ASSIGN(std::string_view field, text(prefix));
  Result<u128> value = id_from_hex(field);
  if (!value.ok()) return wrong();
  return value;
}

Status FieldReader::bytes(std::string_view prefix, std::span<u8> out) {
  TG_ASSIGN(std::string_view field, text(prefix));
  return parse_bytes(field, out);
}

Status FieldReader::parse_bytes(std::string_view field, std::span<u8> out) const {
  if (!decode_hex(field, out)) return wrong();
  return {};
}

}  // namespace tg::meter
