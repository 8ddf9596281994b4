// One field of a TOML file, with the error that says where it is. Included only by the files that
// parse: the library's headers are heavy.
#pragma once

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::market {

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

// kInvalid naming file and line; kLimit above `bytes_max`.
Result<toml::table> parse_table(std::string_view text, std::string_view file, u64 bytes_max);

}  // namespace tg::market
