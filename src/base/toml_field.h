// One field of a TOML file, with the error that says where it is. Included only by the files that
// parse: the library's headers are heavy.
#pragma once

#include <fmt/format.h>

// toml++ 3.3 asserts in places that malformed text reaches ("[<["), where its code goes on to say
// what is wrong: so its assertions are off, whatever the build. Everybody gets it from here, so
// that all have the same.
#define TOML_EXCEPTIONS 0
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg {

// kInvalid, as all mistakes in TOML files are told.
Error toml_error(std::string_view file, i64 line, std::string_view what);

// All borrowed from the parsed table and its reader.
struct Field {
  std::string_view file;
  std::string_view key;
  const toml::node& node;

  // kInvalid, "FILE:LINE: KEY WHAT".
  Error error(std::string_view what) const;
  Result<std::string> text() const;
  Result<i64> number(i64 low, i64 high) const;
  // A whole number as it is, or a decimal in quotes in units of 10^-decimals, exactly.
  Result<i64> amount(i64 decimals) const;
  // A list of texts, at most `count_max`.
  Result<std::vector<std::string>> texts(i64 count_max) const;
};

// kInvalid naming file and line; kLimit above `bytes_max`. Characters that TOML 1.0 has no place
// for outside strings and comments are refused before the library sees them: it was not written for
// all of them.
Result<toml::table> parse_table(std::string_view text, std::string_view file, u64 bytes_max);

}  // namespace tg
