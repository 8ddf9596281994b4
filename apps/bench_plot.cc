#include "apps/bench_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr f64 kLabels = 300;  // width of the names, left of the bars
constexpr f64 kBars = 380;
constexpr f64 kFigures = 90;  // and right of them
constexpr f64 kRow = 16;
constexpr f64 kHead = 34;  // above a panel's rows

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      default: out += c;
    }
  }
  return out;
}

void add_panel(const Plot& plot, const PlotColumn& column, f64 top, std::string& out) {
  f64 most = 0;
  for (f64 value : column.values) most = std::max(most, value);
  out += fmt::format("<text x=\"{}\" y=\"{:.0f}\" font-weight=\"bold\">{}</text>\n", kLabels,
                     top + kHead - 12, escaped(column.name));
  for (std::size_t i = 0; i < plot.labels.size(); ++i) {
    f64 y = top + kHead + kRow * static_cast<f64>(i);
    f64 width = most > 0 ? kBars * std::max(0.0, column.values[i]) / most : 0;
    out += fmt::format(
        "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text>"
        "<rect x=\"{}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{}\" fill=\"#47a\"/>"
        "<text x=\"{:.1f}\" y=\"{:.0f}\">{:.4g}</text>\n",
        kLabels - 8, y + 11, escaped(plot.labels[i]), kLabels, y + 2, width, kRow - 4,
        kLabels + width + 6, y + 11, column.values[i]);
  }
}

}  // namespace

std::string to_svg(const Plot& plot) {
  f64 panel = kHead + kRow * static_cast<f64>(plot.labels.size());
  f64 height = kHead + panel * static_cast<f64>(plot.columns.size()) + kRow;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"11\">"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
      "<text x=\"12\" y=\"20\" font-size=\"13\">{2}</text>\n",
      kLabels + kBars + kFigures, height, escaped(plot.title));
  f64 top = kHead / 2;
  for (const PlotColumn& column : plot.columns) {
    TG_ASSERT(column.values.size() == plot.labels.size());
    add_panel(plot, column, top, out);
    top += panel;
  }
  return out + "</svg>\n";
}

Status write_svg(const Plot& plot, const std::string& path) {
  if (path.empty()) return {};
  std::string svg = to_svg(plot);
  return write_file_durably(path, {reinterpret_cast<const u8*>(svg.data()), svg.size()}, 0644);
}

}  // namespace tg::apps
