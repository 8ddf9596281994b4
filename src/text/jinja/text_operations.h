// String operations that filters and methods share; Python's meaning, on UTF-8. Case is mapped for
// ASCII only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg::jinja {

// Python's str.isspace for one character: \s and U+001C..U+001F.
bool is_python_space(u32 code_point);

struct StripSides {
  bool left = true;
  bool right = true;
};
// Without the characters of `characters` (white space if null) at its ends.
std::string_view strip(std::string_view text, const std::string_view* characters,
                       StripSides sides = {});

// Parts between separators, at most `splits` cuts (-1: all). REQUIRES: !separator.empty().
std::vector<std::string_view> split(std::string_view text, std::string_view separator, i64 splits);
// The same, cutting from the right.
std::vector<std::string_view> split_right(std::string_view text, std::string_view separator,
                                          i64 splits);
// Parts between runs of white space.
std::vector<std::string_view> split_spaces(std::string_view text, i64 splits);
std::vector<std::string_view> split_lines(std::string_view text);

// `text` with the first `count` occurrences of `from` replaced (-1: all). REQUIRES: !from.empty().
struct Replacement {
  std::string_view from;
  std::string_view to;
  i64 count = -1;
};
std::string replace(std::string_view text, const Replacement& replacement);
// Size of that result.
i64 replaced_size(std::string_view text, const Replacement& replacement);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
// First letter upper, the rest lower: of the text, or of each word.
std::string capitalize(std::string_view text);
std::string to_title(std::string_view text);

}  // namespace tg::jinja
