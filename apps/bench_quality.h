// What rounding costs, on questions with answers.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

// Prints a row for each arithmetic. `probes`: lines of {"messages": [one], "expected": text}.
Status bench_quality(const std::string& path, const std::string& probes, i32 threads, bool json);

}  // namespace tg::apps
