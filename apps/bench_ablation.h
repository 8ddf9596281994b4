// What each of the engine's techniques brings, on one executor, one at a time.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct AblationOptions {
  std::string model;              // with probes.jsonl beside it
  std::string trace;              // of conversations (sim/trace.h); "": that case is left out
  std::vector<std::string> only;  // cases; none: all
  i32 threads = 0;
  u64 seed = 1;
  bool json = false;
  std::string svg;  // file for the plot; "": none
};

Status bench_ablation(const AblationOptions& options);

}  // namespace tg::apps
