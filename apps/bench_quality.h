// What rounding costs, on questions with answers.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

// Prints a row for each arithmetic. `probes`: as read_probes() has them.
struct QualityOptions {
  std::string model;
  std::string probes;
  i32 threads = 0;
  bool json = false;
  std::string svg;  // file for the plot; "": none
};

Status bench_quality(const QualityOptions& options);

}  // namespace tg::apps
