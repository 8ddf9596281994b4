// The same rows in other company, bit by bit: what determinism classes D1 and D2 promise.
#pragma once

#include <string>
#include <vector>

#include "conformance/steps.h"

namespace tg::conformance {

struct Outcome {
  bool pass = true;
  f64 used = 0;   // of the class's bound, by the worst element
  f64 gamma = 0;  // E3: what the worst element needed
  std::string failure;
};
Outcome failed(std::string text);

// run() under the allocation watch; the first result of main as numbers. An error if it failed or
// allocated.
Result<std::vector<f64>> run_watched(backend::Executor& executor, const Step& step,
                                     bool is_integer);

struct Replayed {
  backend::Executor& first;  // runs shape "mixed"
  backend::Executor& other;  // runs the replay; may be the same
  Layout layout;
  i64 columns = 1;
  bool is_integer = false;
};
Outcome compare_replay(const Replayed& replayed, Replay replay);

}  // namespace tg::conformance
