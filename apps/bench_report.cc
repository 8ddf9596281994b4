#include "apps/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/bench_plot.h"
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

// Texts at the beginning of a row are its name.
Status Report::plot(const std::string& path) const {
  if (path.empty() || rows_.empty()) return {};
  Plot plot{.title = "bench " + name_, .labels = {}, .columns = {}};
  auto is_text = [](const Cell& cell) { return std::holds_alternative<std::string>(cell); };
  for (const auto& [key, value] : notes_) plot.title += ", " + key + " " + text_of(value);
  std::size_t names = 0;
  while (names < columns_.size() && is_text(rows_[0][names])) ++names;
  for (const std::vector<Cell>& cells : rows_) {
    std::string label;
    for (std::size_t c = 0; c < names; ++c) label += (c > 0 ? ": " : "") + text_of(cells[c]);
    plot.labels.push_back(std::move(label));
  }
  for (std::size_t c = names; c < columns_.size(); ++c) {
    if (is_text(rows_[0][c])) continue;
    PlotColumn column{.name = columns_[c], .values = {}};
    for (const std::vector<Cell>& cells : rows_) {
      const i64* whole = std::get_if<i64>(&cells[c]);
      column.values.push_back(whole != nullptr ? static_cast<f64>(*whole)
                                               : std::get<f64>(cells[c]));
    }
    plot.columns.push_back(std::move(column));
  }
  return write_svg(plot, path);
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
