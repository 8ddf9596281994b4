#include "apps/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "base/json_out.h"

namespace tg::apps {

namespace {

std::string text_of(const Cell& cell) {
  if (const std::string* text = std::get_if<std::string>(&cell)) return *text;
  if (const i64* whole = std::get_if<i64>(&cell)) return fmt::format("{}", *whole);
  f64 value = std::get<f64>(cell);
  int digits = std::abs(value) >= 100 ? 1 : std::abs(value) >= 10 ? 2 : 4;
  return fmt::format("{:.{}f}", value, digits);
}

void write(JsonWriter& json, const Cell& cell) {
  if (const std::string* text = std::get_if<std::string>(&cell)) {
    json.string(*text);
  } else if (const i64* whole = std::get_if<i64>(&cell)) {
    json.number(*whole);
  } else {
    json.real(std::get<f64>(cell));
  }
}

}  // namespace

void Report::row(std::vector<Cell> cells) {
  TG_ASSERT(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

void Report::print(bool json) const {
  json ? print_json() : print_table();
}

void Report::print_table() const {
  for (const auto& [key, value] : notes_) fmt::print("{}: {}\n", key, text_of(value));
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = columns_[c].size();
    for (const std::vector<Cell>& cells : rows_) width = std::max(width, text_of(cells[c]).size());
    widths.push_back(width);
  }
  auto line = [&](auto text) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      bool is_last = c + 1 == columns_.size();
      // Names stand left, figures right.
      c == 0 ? fmt::print("{:<{}}", text(c), widths[c]) : fmt::print("{:>{}}", text(c), widths[c]);
      fmt::print("{}", is_last ? "\n" : "  ");
    }
  };
  line([&](std::size_t c) { return columns_[c]; });
  for (const std::vector<Cell>& cells : rows_)
    line([&](std::size_t c) { return text_of(cells[c]); });
}

void Report::print_json() const {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("bench").string(name_);
  for (const auto& [key, value] : notes_) write(json.key(key), value);
  json.key("rows").begin_array();
  for (const std::vector<Cell>& cells : rows_) {
    json.begin_object();
    for (std::size_t c = 0; c < columns_.size(); ++c) write(json.key(columns_[c]), cells[c]);
    json.end_object();
  }
  json.end_array().end_object();
  fmt::print("{}\n", out);
}

}  // namespace tg::apps
