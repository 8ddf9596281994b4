// What the recursive-descent readers of grammars share: a place in UTF-8 text that only moves
// forward.
#pragma once

#include <optional>
#include <string_view>

#include "base/types.h"

namespace tg::grammar {

// A base of readers. REQUIRES: the text is UTF-8 before next_char() is called.
class TextCursor {
 protected:
  explicit TextCursor(std::string_view text) : text_(text) {}

  bool is_end() const { return at_ >= text_.size(); }
  bool has(char c) const { return !is_end() && text_[at_] == c; }
  bool take(char c) {
    if (!has(c)) return false;
    ++at_;
    return true;
  }

  // The character here, past which it moves. REQUIRES: not at the end.
  u32 next_char() {
    u8 lead = static_cast<u8>(text_[at_++]);
    if (lead < 0x80) return lead;
    int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    u32 c = lead & (0x3Fu >> more);
    for (; more > 0; --more) c = c << 6 | (static_cast<u8>(text_[at_++]) & 0x3Fu);
    return c;
  }

  // That many hexadecimal digits, at most eight; none if one is missing.
  std::optional<u32> take_hex(i64 digits) {
    u32 value = 0;
    for (i64 i = 0; i < digits; ++i) {
      char c = is_end() ? ' ' : text_[at_];
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) return std::nullopt;
      value = value << 4 | static_cast<u32>(digit);
      ++at_;
    }
    return value;
  }

  // A decimal number; none if there is no digit, most + 1 as soon as it is more than `most`.
  std::optional<i64> take_number(i64 most) {
    std::size_t begin = at_;
    i64 value = 0;
    for (; !is_end() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = value * 10 + (text_[at_] - '0');
      if (value > most) return most + 1;
    }
    if (at_ == begin) return std::nullopt;
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace tg::grammar
