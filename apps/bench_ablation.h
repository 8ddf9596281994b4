// What each of the engine's techniques brings, on one executor, one at a time.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct AblationOptions {
  std::string model;
  i32 threads = 0;
  u64 seed = 1;
  bool json = false;
};

Status bench_ablation(const AblationOptions& options);

}  // namespace tg::apps
