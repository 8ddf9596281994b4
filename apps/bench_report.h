// A table that is printed for people or as JSON: the same columns and numbers either way.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

using Cell = std::variant<std::string, i64, f64>;

class Report {
 public:
  Report(std::string name, std::vector<std::string> columns)
      : name_(std::move(name)), columns_(std::move(columns)) {}

  // REQUIRES: a cell for each column.
  void row(std::vector<Cell> cells);
  // A line above the table: what the conditions were.
  void note(std::string key, Cell value) { notes_.emplace_back(std::move(key), std::move(value)); }
  void print(bool json) const;
  // Its numbers as bars (bench_plot.h); nothing if `path` is "".
  Status plot(const std::string& path) const;

 private:
  void print_table() const;
  void print_json() const;

  std::string name_;
  std::vector<std::string> columns_;
  std::vector<std::pair<std::string, Cell>> notes_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace tg::apps
