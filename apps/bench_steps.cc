#include "apps/bench_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/loaded_model.h"
#include "backend/packed_step.h"
#include "env/random.h"
#include "unit/actual.h"

namespace tg::apps {

namespace {

constexpr i64 kFillTokens = 512;  // of a step that only fills the cache
constexpr i64 kStepsPerPass = 4;  // measured steps for each pass of reads

Status check_bound(const char* what, i64 wanted, i64 bound) {
  if (wanted <= bound) return {};
  return Error{Code::kLimit, fmt::format("bench: {} {} are more than the program allows: {}",
                                         wanted, what, bound)};
}

template <typename T>
T median_of(std::vector<T> values) {
  TG_ASSERT(!values.empty());
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

f64 BenchTimes::median_ns() const {
  return static_cast<f64>(median_of(step_ns));
}
f64 BenchTimes::median_read_bytes() const {
  return median_of(read_bytes);
}

i64 BenchSteps::pages_of(i64 tokens) const {
  return (tokens + executor_->page_tokens() - 1) / executor_->page_tokens();
}

Result<BenchSteps> BenchSteps::open(const model::Model& model, const BenchShape& most,
                                    i32 threads) {
  TG_TRY(model.check_runnable());
  const isa::Program& program = model.program().program();
  i64 context = most.context + most.step_tokens;
  i64 tokens = std::max(most.sequences * most.step_tokens, std::min(kFillTokens, context));
  TG_TRY(check_bound("tokens in a step", tokens, program.bounds.tokens));
  TG_TRY(check_bound("sequences", most.sequences, program.bounds.sequences));
  TG_TRY(check_bound("tokens of a sequence", context, program.bounds.context));
  if (program.kv.empty()) return Error{Code::kUnsupported, "bench: the program keeps no keys"};
  i64 page_tokens = program.kv[0].page_tokens;
  backend::ExecutorLimits limits{
      .tokens_max = tokens,
      .sequences_max = most.sequences,
      .rows_max = most.sequences,
      .context_max = context,
      .kv_pages = most.sequences * ((context + page_tokens - 1) / page_tokens),
      .threads = threads};
  BenchSteps steps(model);
  TG_ASSIGN(steps.executor_, backend::make_executor("cpu", model.program(), model.weights(), limits,
                                                    packed_file_of(model)));
  model.release_weights();
  return steps;
}

// Sequence 0 computes its keys, the others get copies: real values, which cost as much to read.
Status BenchSteps::fill(const BenchShape& shape, std::span<const i32> tokens) {
  i64 pages_each = pages_of(shape.context + shape.step_tokens);
  for (i64 done = 0; done < shape.context;) {
    i64 count = std::min(shape.context - done, executor_->limits().tokens_max);
    backend::PackedStep step;
    step.add(tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count)), done,
             backend::pages_from(0, pages_each), 0, executor_->page_tokens());
    TG_TRY(executor_->run(step.view()));
    done += count;
  }
  std::vector<backend::PageCopy> copies;
  for (i64 s = 1; s < shape.sequences; ++s) {
    for (i64 p = 0; p < pages_of(shape.context); ++p)
      copies.push_back({static_cast<i32>(p), static_cast<i32>(s * pages_each + p)});
  }
  return executor_->copy_pages(copies);
}

Result<BenchSteps::Prepared> BenchSteps::prepare(const BenchShape& shape, u64 seed) {
  std::vector<i32> tokens(
      static_cast<std::size_t>(std::max(shape.context, shape.sequences * shape.step_tokens)));
  SeededRandom random(seed);
  u64 vocabulary = static_cast<u64>(executor_->vocabulary());
  for (i32& token : tokens) token = static_cast<i32>(random.next_u64() % vocabulary);
  TG_TRY(fill(shape, tokens));

  Prepared out;
  i64 pages_each = pages_of(shape.context + shape.step_tokens);
  for (i64 s = 0; s < shape.sequences; ++s) {
    std::span<const i32> fresh(tokens.data() + s * shape.step_tokens,
                               static_cast<std::size_t>(shape.step_tokens));
    out.step.add(fresh, shape.context, backend::pages_from(s * pages_each, pages_each), shape.rows,
                 executor_->page_tokens());
    out.ordered.push_back(
        {.cached = shape.context, .fresh = shape.step_tokens, .rows = shape.rows});
  }
  TG_TRY(executor_->run(out.step.view()));
  return out;
}

Result<BenchTimes> BenchSteps::measure(const BenchShape& shape, i64 repeats, u64 seed,
                                       backend::cpu::ReadProbe& reads) {
  TG_ASSIGN(Prepared prepared, prepare(shape, seed));
  backend::StepBatch batch = prepared.step.view();
  BenchTimes times;
  TG_ASSIGN(times.counters,
            unit::evaluate(model_->program().cost(), prepared.ordered, executor_->expert_hits()));
  for (i64 r = 0; r < repeats; ++r) {
    if (r % kStepsPerPass == 0) {
      times.read_bytes.push_back(reads.pass());
      // Threads are parked by now, and what they had in their caches is gone.
      TG_TRY(executor_->run(batch));
    }
    i64 start = clock_.monotonic_ns();
    TG_TRY(executor_->run(batch));
    times.step_ns.push_back(clock_.monotonic_ns() - start);
  }
  return times;
}

Result<BenchOverhead> BenchSteps::measure_overhead(const BenchShape& shape, i64 repeats, u64 seed) {
  TG_ASSIGN(Prepared prepared, prepare(shape, seed));
  backend::StepBatch batch = prepared.step.view();
  if (executor_->op_times().empty())
    return Error{Code::kUnsupported, "bench: the device does not say what its ops take"};
  std::vector<unit::StepShare> shares(prepared.ordered.size());
  std::vector<i64> kernels, program, metering;
  for (i64 r = 0; r < repeats; ++r) {
    i64 start = clock_.monotonic_ns();
    TG_TRY(executor_->run(batch));
    i64 ran = clock_.monotonic_ns();
    TG_TRY(unit::attribute_step(model_->program().cost(), prepared.ordered,
                                executor_->expert_hits(), ran - start, shares));
    metering.push_back(clock_.monotonic_ns() - ran);
    std::span<const u64> ops = executor_->op_times();
    kernels.push_back(static_cast<i64>(std::accumulate(ops.begin(), ops.end(), u64{0})));
    program.push_back(ran - start - kernels.back());
  }
  return BenchOverhead{.kernels_ns = static_cast<f64>(median_of(kernels)),
                       .program_ns = static_cast<f64>(median_of(program)),
                       .metering_ns = static_cast<f64>(median_of(metering))};
}

}  // namespace tg::apps
