// Measured rows as a picture: a panel of bars for each column, in one SVG file.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct PlotColumn {
  std::string name;
  std::vector<f64> values;  // one for each label
};

struct Plot {
  std::string title;
  std::vector<std::string> labels;
  std::vector<PlotColumn> columns;
};

std::string to_svg(const Plot& plot);

// Nothing if `path` is "".
Status write_svg(const Plot& plot, const std::string& path);

}  // namespace tg::apps
