#include "engine/sched/step_model.h"

#include <algorithm>
#include <cmath>

namespace tg::engine {

namespace {

constexpr f64 kForget = 0.995;      // of what was learnt, per step: a memory of some 200 steps
constexpr f64 kErrorForget = 0.95;  // of the average error
constexpr int kSweeps = 16;

}  // namespace

void StepSize::add(i64 cached, i64 fresh, i64 logit_rows) {
  ++sequences;
  tokens += fresh;
  rows += logit_rows;
  keys += cached + fresh;
  pairs += fresh * cached + fresh * (fresh + 1) / 2;
}

f64 StepTime::predict_ns(const StepSize& step) const {
  return ns_per_step + ns_per_token * static_cast<f64>(step.tokens) +
         ns_per_row * static_cast<f64>(step.rows) + ns_per_key * static_cast<f64>(step.keys) +
         ns_per_pair * static_cast<f64>(step.pairs);
}

void StepModel::observe(const StepSize& step, i64 wall_ns) {
  if (wall_ns <= 0) return;
  f64 wall = static_cast<f64>(wall_ns);
  if (is_ready()) {
    f64 error = std::min(1.0, std::abs(time_.predict_ns(step) / wall - 1));
    f64 forget = time_.steps == kStepsToLearn ? 0 : kErrorForget;
    time_.error = forget * time_.error + (1 - forget) * error;
  }
  accumulate({1 / wall, static_cast<f64>(step.tokens) / wall, static_cast<f64>(step.rows) / wall,
              static_cast<f64>(step.keys) / wall, static_cast<f64>(step.pairs) / wall});
  solve();
  ++time_.steps;
}

void StepModel::accumulate(const Terms& terms) {
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j) {
      normal_[i][j] = kForget * normal_[i][j] + terms[i] * terms[j];
    }
    right_[i] = kForget * right_[i] + terms[i];
  }
}

// Non-negative least squares by coordinate descent from where the last solution stood; what the
// late steps do not tell apart stays as it was.
void StepModel::solve() {
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t i = 0; i < kTerms; ++i) {
      if (normal_[i][i] <= 0) continue;
      f64 rest = right_[i];
      for (std::size_t j = 0; j < kTerms; ++j) {
        if (j != i) rest -= normal_[i][j] * coefficients_[j];
      }
      coefficients_[i] = std::max(0.0, rest / normal_[i][i]);
    }
  }
  time_.ns_per_step = coefficients_[0];
  time_.ns_per_token = coefficients_[1];
  time_.ns_per_row = coefficients_[2];
  time_.ns_per_key = coefficients_[3];
  time_.ns_per_pair = coefficients_[4];
}

}  // namespace tg::engine
