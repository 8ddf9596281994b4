// Steps for measuring: one executor, sequences of random tokens that share nothing but a common
// beginning, timed around Executor::run alone.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/limits.h"
#include "backend/executor.h"
#include "backend/packed_step.h"
#include "env/clock.h"
#include "model/model.h"
#include "unit/cost_matrix.h"

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
  std::vector<f64> read_bytes;  // per second, of passes of reads between repetitions
  unit::Counters counters{};

  f64 median_ns() const;
  f64 median_read_bytes() const;
};

// One step, repeated: what of its time went to kernels, calls by hand would need too, and what to
// their being a program's that is checked, bound and metered.
struct BenchOverhead {
  f64 kernels_ns = 0;   // kernels and the forks and joins of their threads
  f64 program_ns = 0;   // the rest of Executor::run: checks, parameters, the list of calls
  f64 metering_ns = 0;  // the step's work, attributed to its sequences

  f64 of_kernels() const { return (program_ns + metering_ns) / kernels_ns; }
};

class BenchSteps {
 public:
  // For steps of at most `shape`. kLimit naming the bound if the program does not allow them.
  static Result<BenchSteps> open(const model::Model& model, const BenchShape& most, i32 threads);

  // Fills `shape.context` keys of each sequence, then runs the step once unmeasured and `repeats`
  // times measured. Every repetition writes the same slots; between some, `reads` makes a pass:
  // the machine's limit as it was then.
  Result<BenchTimes> measure(const BenchShape& shape, i64 repeats, u64 seed,
                             backend::cpu::ReadProbe& reads);

  // Medians, each by itself. The clocks of the kernels are in `program_ns`. kUnsupported if the
  // device does not say what its ops took.
  Result<BenchOverhead> measure_overhead(const BenchShape& shape, i64 repeats, u64 seed);

  std::string device() const { return executor_->device_name(); }

 private:
  explicit BenchSteps(const model::Model& model) : model_(&model) {}
  // A step, and what it is ordered to do.
  struct Prepared {
    backend::PackedStep step;
    std::vector<unit::SequenceStep> ordered;
  };
  // Fills the keys and runs the step once.
  Result<Prepared> prepare(const BenchShape& shape, u64 seed);
  Status fill(const BenchShape& shape, std::span<const i32> tokens);
  i64 pages_of(i64 tokens) const;

  const model::Model* model_;
  std::unique_ptr<backend::Executor> executor_;
  SystemClock clock_;
};

}  // namespace tg::apps
