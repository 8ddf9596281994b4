// Comma-separated tables with a header, as measurements are published: fields by column name, and
// errors that say which file, line and column held which value. RFC 4180 quoting.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::predict {

inline constexpr u64 kTableBytesMax = 256u << 20;
inline constexpr std::size_t kTableColumnsMax = 1024;
inline constexpr std::size_t kTableRowsMax = 4'000'000;

class Table {
 public:
  // `name` begins the messages. kCorrupt, with the line, for a row of another length than the
  // header, an unclosed quote, a column named twice or no header; kLimit past a limit above.
  static Result<Table> parse(std::string_view text, std::string name);
  // As parse(), of a file; kIo or kNotFound with the path otherwise.
  static Result<Table> read(const std::string& path);

  std::size_t row_count() const { return lines_.size(); }
  bool has(std::string_view column) const;
  const std::string& name() const { return name_; }

  // The field, empty if the table has no such column. REQUIRES: row < row_count().
  std::string_view text(std::size_t row, std::string_view column) const;
  // A finite number; kInvalid with file, line, column and value if it is none or empty, kNotFound
  // if there is no such column.
  Result<f64> number(std::size_t row, std::string_view column) const;
  // `otherwise` if the column is absent or the field empty.
  Result<f64> number_or(std::size_t row, std::string_view column, f64 otherwise) const;
  // "file:line: column 'c' is 'v', <expectation>"
  Error wrong(std::size_t row, std::string_view column, std::string_view expectation) const;
  // The line of the file that the row begins on, from 1.
  i64 line(std::size_t row) const { return lines_[row]; }

 private:
  std::string name_;
  std::unordered_map<std::string, std::size_t> columns_;
  std::vector<std::string> fields_;  // row by row
  std::vector<i64> lines_;
};

// The number that all of `text` is, blanks around it aside; empty if it is none or not finite.
Result<f64> parse_number(std::string_view text);

}  // namespace tg::predict
