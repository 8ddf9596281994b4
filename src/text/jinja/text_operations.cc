#include "text/jinja/text_operations.h"

#include <algorithm>

#include "text/unicode.h"

namespace tg::jinja {
namespace {

char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool is_stripped(std::string_view character, const std::string_view* characters) {
  if (characters != nullptr) return characters->find(character) != characters->npos;
  return is_python_space(utf8_decode(character, 0));
}

// The last character of `text`. REQUIRES: !text.empty().
std::string_view last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<u8>(text[at]) & 0xC0) == 0x80) --at;
  return text.substr(at);
}

std::string_view first_character(std::string_view text) {
  return text.substr(0, static_cast<std::size_t>(utf8_size(static_cast<u8>(text[0]))));
}

}  // namespace

bool is_python_space(u32 code_point) {
  return (char_flags(code_point) & kCharSpace) != 0 || (code_point >= 0x1C && code_point <= 0x1F);
}

std::string_view strip(std::string_view text, const std::string_view* characters,
                       StripSides sides) {
  while (sides.left && !text.empty() && is_stripped(first_character(text), characters))
    text.remove_prefix(first_character(text).size());
  while (sides.right && !text.empty() && is_stripped(last_character(text), characters))
    text.remove_suffix(last_character(text).size());
  return text;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator, i64 splits) {
  std::vector<std::string_view> parts;
  std::size_t at = text.npos;
  while (splits-- != 0 && (at = text.find(separator)) != text.npos) {
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_right(std::string_view text, std::string_view separator,
                                          i64 splits) {
  std::vector<std::string_view> parts;
  std::size_t at = text.npos;
  while (splits-- != 0 && (at = text.rfind(separator)) != text.npos) {
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_spaces(std::string_view text, i64 splits) {
  std::vector<std::string_view> parts;
  for (;;) {
    text = strip(text, nullptr, {.left = true, .right = false});
    if (text.empty()) return parts;
    std::size_t end = 0;
    while (end < text.size() && !is_stripped(first_character(text.substr(end)), nullptr))
      end += first_character(text.substr(end)).size();
    if (splits-- == 0) end = text.size();
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    std::size_t end = text.find_first_of("\r\n");
    lines.push_back(text.substr(0, end));
    if (end == text.npos) break;
    bool is_pair = text.substr(end, 2) == "\r\n";
    text.remove_prefix(end + (is_pair ? 2 : 1));
  }
  return lines;
}

std::string replace(std::string_view text, const Replacement& replacement) {
  std::string out;
  i64 left = replacement.count;
  std::size_t at = text.npos;
  while (left-- != 0 && (at = text.find(replacement.from)) != text.npos) {
    out.append(text.substr(0, at)).append(replacement.to);
    text.remove_prefix(at + replacement.from.size());
  }
  out += text;
  return out;
}

i64 replaced_size(std::string_view text, const Replacement& replacement) {
  i64 size = static_cast<i64>(text.size());
  i64 growth = static_cast<i64>(replacement.to.size()) - static_cast<i64>(replacement.from.size());
  i64 left = replacement.count;
  for (std::size_t at = text.find(replacement.from); at != text.npos && left-- != 0;
       at = text.find(replacement.from, at + replacement.from.size()))
    size += growth;
  return size;
}

std::string to_upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), upper);
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out = to_lower(text);
  if (!out.empty()) out[0] = upper(out[0]);
  return out;
}

std::string to_title(std::string_view text) {
  std::string out = to_lower(text);
  bool in_word = false;
  for (std::size_t at = 0; at < out.size();) {
    u32 c = utf8_decode(out, static_cast<i64>(at));
    bool is_letter = (char_flags(c) & kCharLetter) != 0;
    if (is_letter && !in_word) out[at] = upper(out[at]);
    in_word = is_letter;
    at += static_cast<std::size_t>(utf8_size(static_cast<u8>(out[at])));
  }
  return out;
}

}  // namespace tg::jinja
