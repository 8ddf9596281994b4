// The grammar of receipts: lines of a key and fields, each field "value" or "name=value". Shared by
// the receipt's versions; strict, so that a text has one encoding.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::meter {

inline constexpr i64 kNameBytesMax = 128;

inline bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::strchr("-_.:/@", c) != nullptr);
}
bool is_name(std::string_view text);

// Takes a text apart line by line.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  // The fields of the next line, which must start with `key`.
  Result<std::string_view> line(std::string_view key);
  Error wrong(std::string_view key) const;
  // Whether the next line has this key.
  bool next_is(std::string_view key) const;
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  int number_ = 0;
};

// Takes a line apart, field by field; each reader expects `prefix` before the value.
class FieldReader {
 public:
  // Reads the next line of `lines`.
  static Result<FieldReader> next(LineReader& lines, std::string_view key);

  Result<std::string_view> text(std::string_view prefix = {});
  Result<std::string> name(std::string_view prefix = {});
  Result<i64> number(std::string_view prefix = {});
  Result<i64> parse_number(std::string_view field) const;
  Result<u128> wide(std::string_view prefix);
  Result<u128> id(std::string_view prefix = {});
  // Exactly out.size() bytes of hex.
  Status bytes(std::string_view prefix, std::span<u8> out);
  Status parse_bytes(std::string_view field, std::span<u8> out) const;
  Error wrong() const { return lines_->wrong(key_); }
  bool at_end() const { return rest_.empty(); }

 private:
  FieldReader(const LineReader& lines, std::string_view key, std::string_view text)
      : lines_(&lines), key_(key), rest_(text) {}

  const LineReader* lines_;
  std::string_view key_;
  std::string_view rest_;
};

}  // namespace tg::meter
