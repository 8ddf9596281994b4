#include "base/json_out.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>

#include "base/bytes.h"

namespace tg {

static void append_escaped(std::string& out, unsigned char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  if (c < 0x20) {
    out += fmt::format("\\u{:04x}", c);
  } else {
    out.push_back(static_cast<char>(c));
  }
}

// Stands for itself.
static bool is_plain(char c) {
  return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

// Where the first byte from `i` on is that does not; eight at a time, as nearly all do.
static std::size_t plain_end(std::string_view text, std::size_t i) {
  constexpr u64 kOnes = 0x0101'0101'0101'0101, kHigh = kOnes * 0x80;
  auto has_zero = [](u64 x) { return (x - kOnes) & ~x & kHigh; };
  for (; i + sizeof(u64) <= text.size(); i += sizeof(u64)) {
    u64 word = 0;
    std::memcpy(&word, text.data() + i, sizeof(word));
    u64 control = (word - kOnes * 0x20) & ~word & kHigh;
    u64 others = has_zero(word ^ (kOnes * '"')) | has_zero(word ^ (kOnes * '\\')) |
                 has_zero(word ^ (kOnes * 0x7f));
    if (((word & kHigh) | control | others) != 0) break;
  }
  while (i < text.size() && is_plain(text[i])) ++i;
  return i;
}

// Length of the longest well-formed sequence at `i`, or 0 if the byte there belongs to none.
static std::size_t sequence_length(std::string_view text, std::size_t i) {
  for (std::size_t n = 1; n <= 4 && i + n <= text.size(); ++n) {
    if (is_utf8(text.substr(i, n))) return n;
  }
  return 0;
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (std::size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      std::size_t end = plain_end(text, i);
      out.append(text.substr(i, end - i));
      if (end == i) append_escaped(out, static_cast<unsigned char>(text[end++]));
      i = end;
      continue;
    }
    std::size_t n = sequence_length(text, i);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out.append(text.substr(i, n));
      i += n;
    }
  }
  out.push_back('"');
}

void JsonWriter::before_value() {
  if (needs_comma_) out_.push_back(',');
  needs_comma_ = true;
}

JsonWriter& JsonWriter::begin_object() {
  before_value();
  out_.push_back('{');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  out_.push_back('}');
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  before_value();
  out_.push_back('[');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  out_.push_back(']');
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  before_value();
  append_json_string(out_, name);
  out_.push_back(':');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  before_value();
  append_json_string(out_, text);
  return *this;
}

// Lists of token ids are long: one append for comma and digits.
JsonWriter& JsonWriter::number(i64 value) {
  char text[24];
  text[0] = ',';
  char* end = std::to_chars(text + 1, std::end(text), value).ptr;
  const char* begin = needs_comma_ ? text : text + 1;
  out_.append(begin, static_cast<std::size_t>(end - begin));
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::number_u64(u64 value) {
  before_value();
  fmt::format_int text(value);
  out_.append(text.data(), text.size());
  return *this;
}

JsonWriter& JsonWriter::real(f64 value) {
  if (!std::isfinite(value)) return null();
  before_value();
  out_ += fmt::format("{}", value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  before_value();
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  before_value();
  out_.append(json);
  return *this;
}

}  // namespace tg
