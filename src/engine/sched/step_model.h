// How long a step will take, learnt from the steps that were taken: a sum of a few terms with
// non-negative coefficients, fitted to relative errors by least squares with exponential
// forgetting. Relative, because steps differ by three orders of magnitude and because an outlier (a
// page fault, a neighbour) is always a slow step, which then weighs little by itself.
#pragma once

#include <array>
#include <span>

#include "base/types.h"

namespace tg::engine {

// What a step's time depends on.
struct StepSize {
  i64 sequences = 0;
  i64 tokens = 0;
  i64 rows = 0;   // of logits
  i64 keys = 0;   // read: cached and new ones of each sequence
  i64 pairs = 0;  // of a query and a key

  // Adds one sequence's part.
  void add(i64 cached, i64 fresh, i64 logit_rows);
};

// The fitted model as plain numbers, for routing. A step takes the sum of sizes times coefficients.
struct StepTime {
  f64 ns_per_step = 0;
  f64 ns_per_token = 0;
  f64 ns_per_row = 0;
  f64 ns_per_key = 0;
  f64 ns_per_pair = 0;
  f64 error = 1;  // of late predictions, relative, averaged
  u64 steps = 0;  // observed

  f64 predict_ns(const StepSize& step) const;
};

class StepModel {
 public:
  // Whether it has seen enough to be asked.
  bool is_ready() const { return time_.steps >= kStepsToLearn; }
  const StepTime& time() const { return time_; }
  // One step that was run. Steps of no length teach nothing.
  void observe(const StepSize& step, i64 wall_ns);

  static constexpr u64 kStepsToLearn = 8;

 private:
  static constexpr std::size_t kTerms = 5;
  using Terms = std::array<f64, kTerms>;

  void accumulate(const Terms& terms);
  void solve();

  // Of the squares sum (1 - c.x / wall)^2, forgotten exponentially: normal matrix, right side.
  std::array<Terms, kTerms> normal_{};
  Terms right_{};
  Terms coefficients_{};
  StepTime time_;
};

}  // namespace tg::engine
