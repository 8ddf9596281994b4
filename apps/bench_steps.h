// Steps for measuring: one executor, sequences of random tokens that share nothing but a common
// beginning, timed around Executor::run alone.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/executor.h"
#include "env/clock.h"
#include "model/model.h"
#include "unit/counters.h"

namespace tg::apps {

struct BenchShape {
  i64 sequences = 1;
  i64 context = 0;      // keys of each sequence before the measured step
  i64 step_tokens = 1;  // new tokens of each sequence in the measured step
  i64 rows = 1;         // logit rows of each sequence: 0 or 1
};

// One measured step, repeated: nanoseconds of each repetition, and what each was ordered to do.
struct BenchTimes {
  std::vector<i64> step_ns;
  unit::Counters counters{};

  f64 median_ns() const;
};

class BenchSteps {
 public:
  // For steps of at most `shape`. kLimit naming the bound if the program does not allow them.
  static Result<BenchSteps> open(const model::Model& model, const BenchShape& most, i32 threads);

  // Fills `shape.context` keys of each sequence, then runs the step once unmeasured and `repeats`
  // times measured. Every repetition writes the same slots.
  Result<BenchTimes> measure(const BenchShape& shape, i64 repeats, u64 seed);

  std::string device() const { return executor_->device_name(); }

 private:
  explicit BenchSteps(const model::Model& model) : model_(&model) {}
  Status fill(const BenchShape& shape, std::span<const i32> tokens);
  i64 pages_of(i64 tokens) const;

  const model::Model* model_;
  std::unique_ptr<backend::Executor> executor_;
  SystemClock clock_;
};

}  // namespace tg::apps
