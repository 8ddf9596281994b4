// How long a model takes to load, and what it takes of memory.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct LoadBenchOptions {
  std::string model;
  i32 threads = 0;
  i64 kv_tokens = 2'048;
  i64 repeats = 3;
  bool json = false;
  std::string svg;  // file for the plot; "": none
};

// A row for each load, each after the one before is gone. The first one packs the weights if no
// packed file is beside the model.
Status bench_load(const LoadBenchOptions& options);

}  // namespace tg::apps
