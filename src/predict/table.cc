// One pass over the bytes; a row is checked against the header as soon as it is whole.
#include "predict/table.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "env/disk.h"

namespace tg::predict {

namespace {

constexpr std::size_t kShownMax = 60;

std::string shown(std::string_view value) {
  std::string out(value.substr(0, kShownMax));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return value.size() > kShownMax ? out + "..." : out;
}

// Reads one record; `at` moves behind its line end.
class RecordReader {
 public:
  RecordReader(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool is_done() const { return at_ >= text_.size(); }
  i64 line() const { return line_; }

  Result<std::vector<std::string>> next() {
    std::vector<std::string> fields(1);
    i64 first_line = line_;
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == '"' && fields.back().empty()) {
        if (!quoted(fields.back()))
          return Error{Code::kCorrupt,
                       fmt::format("{}:{}: a quote is not closed", name_, first_line)};
      } else if (c == ',') {
        if (fields.size() == kTableColumnsMax)
          return Error{Code::kLimit, fmt::format("{}:{}: more than {} columns", name_, first_line,
                                                 kTableColumnsMax)};
        fields.emplace_back();
      } else if (c == '\n') {
        ++line_;
        return fields;
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    return fields;
  }

 private:
  // Behind an opening quote; "" is one quote.
  bool quoted(std::string& out) {
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == '\n') ++line_;
      if (c != '"') {
        out += c;
      } else if (at_ < text_.size() && text_[at_] == '"') {
        out += text_[at_++];
      } else {
        return true;
      }
    }
    return false;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  i64 line_ = 1;
};

bool is_blank(const std::vector<std::string>& record) {
  return record.size() == 1 && record[0].empty();
}

}  // namespace

Result<f64> parse_number(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  f64 value = 0;
  std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), value);
  bool is_whole = read.ec == std::errc() && read.ptr == text.data() + text.size();
  if (!is_whole || !std::isfinite(value))
    return Error{Code::kInvalid, fmt::format("'{}' is not a number", shown(text))};
  return value;
}

Result<Table> Table::parse(std::string_view text, std::string name) {
  Table table;
  table.name_ = std::move(name);
  RecordReader reader(text, table.name_);
  TG_ASSIGN(std::vector<std::string> header, reader.next());
  if (is_blank(header)) return Error{Code::kCorrupt, table.name_ + ":1: there is no header"};
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (!table.columns_.emplace(header[i], i).second)
      return Error{Code::kCorrupt,
                   fmt::format("{}:1: column '{}' appears twice", table.name_, shown(header[i]))};
  }
  while (!reader.is_done()) {
    i64 line = reader.line();
    TG_ASSIGN(std::vector<std::string> record, reader.next());
    if (is_blank(record)) continue;
    if (record.size() != header.size())
      return Error{Code::kCorrupt, fmt::format("{}:{}: {} fields, the header has {}", table.name_,
                                               line, record.size(), header.size())};
    if (table.lines_.size() == kTableRowsMax)
      return Error{Code::kLimit,
                   fmt::format("{}:{}: more than {} rows", table.name_, line, kTableRowsMax)};
    table.lines_.push_back(line);
    for (std::string& field : record) table.fields_.push_back(std::move(field));
  }
  return table;
}

Result<Table> Table::read(const std::string& path) {
  TG_ASSIGN(std::string text, read_file(path, kTableBytesMax));
  return parse(text, path);
}

bool Table::has(std::string_view column) const {
  return columns_.contains(std::string(column));
}

std::string_view Table::text(std::size_t row, std::string_view column) const {
  TG_ASSERT(row < lines_.size());
  std::unordered_map<std::string, std::size_t>::const_iterator found =
      columns_.find(std::string(column));
  if (found == columns_.end()) return {};
  return fields_[row * columns_.size() + found->second];
}

Error Table::wrong(std::size_t row, std::string_view column, std::string_view expectation) const {
  return Error{Code::kInvalid, fmt::format("{}:{}: column '{}' is '{}', {}", name_, line(row),
                                           column, shown(text(row, column)), expectation)};
}

Result<f64> Table::number(std::size_t row, std::string_view column) const {
  if (!has(column))
    return Error{Code::kNotFound, fmt::format("{}:1: there is no column '{}'", name_, column)};
  Result<f64> value = parse_number(text(row, column));
  if (!value.ok()) return wrong(row, column, "expected a number");
  return value;
}

Result<f64> Table::number_or(std::size_t row, std::string_view column, f64 otherwise) const {
  if (text(row, column).empty()) return otherwise;
  return number(row, column);
}

}  // namespace tg::predict
