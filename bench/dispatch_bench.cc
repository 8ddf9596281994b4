// What the bytecode costs beyond its kernels, as a part of a decode step: checking and filling the
// step, walking the plan, binding arguments, counting the work.
//
//   dispatch_bench [--opencl] [MODEL.gguf ...]     (default: the bundled target model)
//
// Method: a program with the same ops whose tensors are as small as they can be runs the same host,
// plan and dispatch code around kernels that do next to nothing. Its step time per op, times the
// model's ops, plus the evaluation of the model's own cost matrix, is an upper bound of the
// overhead: what the small kernels still take is counted as overhead too. A direct loop over the
// same kernels is what remains of the model's step without it.
//
// --opencl: the model's own step on the first OpenCL device, and the same step over a driver whose
// every call returns at once. What that takes is everything but the driver and the kernels.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "backend/bound_executor.h"
#include "backend/tiny_llama.h"
#include "env/clock.h"
#include "model/model.h"
#include "unit/cost_matrix.h"
#if __has_include(<CL/cl.h>)
#include "bench/null_opencl.h"
#endif

namespace tg {

namespace {

constexpr i64 kContext = 256;  // keys before the measured token
constexpr i64 kRepeats = 9;
constexpr i64 kPageTokens = 16;
constexpr backend::ExecutorLimits kLimits = {
    .tokens_max = kContext, .sequences_max = 4, .rows_max = 4, .context_max = 512, .kv_pages = 40};

struct Cost {
  i64 ops = 0;
  f64 step_ns = 0;
  f64 meter_ns = 0;
};

// One sequence: kContext tokens at once, or the one that follows them.
backend::OwnedBatch batch_of(i64 past, i64 count, i64 vocabulary) {
  std::vector<i32> ids, pages;
  for (i64 i = 0; i < count; ++i) ids.push_back(static_cast<i32>((past + i) % vocabulary));
  for (i64 p = 0; p <= (past + count) / kPageTokens; ++p) pages.push_back(static_cast<i32>(p));
  backend::OwnedBatch batch;
  batch.add(ids, static_cast<i32>(past), pages, 1);
  return batch;
}

// The median over kRepeats of the mean time of `count` calls.
f64 median_ns(Clock& clock, i64 count, const std::function<void()>& call) {
  std::vector<f64> times;
  for (i64 r = 0; r < kRepeats; ++r) {
    i64 start = clock.monotonic_ns();
    for (i64 i = 0; i < count; ++i) call();
    times.push_back(static_cast<f64>(clock.monotonic_ns() - start) / static_cast<f64>(count));
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

f64 meter_ns(const isa::VerifiedProgram& program, Clock& clock) {
  constexpr i64 kCalls = 10'000;
  i64 past = kContext;
  auto evaluate = [&] {
    unit::SequenceStep step{past++, 1, 1};
    Result<unit::Counters> counters = unit::evaluate(program.cost(), {&step, 1}, {});
    TG_ASSERT(counters.ok());
  };
  return median_ns(clock, kCalls, evaluate);
}

Result<Cost> measure(const backend::Library& library, const isa::VerifiedProgram& program,
                     const isa::WeightTable& weights, i64 calls, Clock& clock) {
  TG_ASSIGN(isa::FlatProgram flat, program.flatten("main"));
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::bind_executor({.library = library, .device = 0}, program, weights, kLimits));
  backend::OwnedBatch prompt = batch_of(0, kContext, executor->vocabulary());
  backend::OwnedBatch decode = batch_of(kContext, 1, executor->vocabulary());
  TG_TRY(executor->run(prompt.view()));
  Status status;
  auto step = [&] {
    Result<std::span<const f32>> logits = executor->run(decode.view());
    if (!logits) status = logits.error();
  };
  step();
  Cost cost{.ops = static_cast<i64>(flat.code.size()),
            .step_ns = median_ns(clock, calls, step),
            .meter_ns = meter_ns(program, clock)};
  TG_TRY(status);
  return cost;
}

// The same 16 ops a layer, as small as they can be.
Result<Cost> measure_smallest(i64 layers, Clock& clock) {
  constexpr i64 kCalls = 500;
  backend::TinyShape shape{.d = 16,
                           .heads = 1,
                           .groups = 1,
                           .head_dim = 16,
                           .f = 16,
                           .vocabulary = 16,
                           .layers = layers,
                           .codec = "f32",
                           .head_codec = "f32",
                           .attention = "window=1"};
  TG_ASSIGN(isa::Program program, isa::assemble(backend::tiny_llama_text(shape)));
  TG_ASSIGN(isa::VerifiedProgram verified, isa::verify(std::move(program)));
  backend::RandomWeights weights(verified.program(), 1);
  TG_ASSIGN(backend::Library library, backend::load_library("cpu"));
  return measure(library, verified, weights.table, kCalls, clock);
}

constexpr i64 kShortStepNs = 20'000'000;

// As often as fits a short while.
Result<Cost> measure_model(const backend::Library& library, const model::Model& model,
                           Clock& clock) {
  TG_ASSIGN(Cost once, measure(library, model.program(), model.weights(), 1, clock));
  i64 calls = std::max<i64>(1, kShortStepNs / static_cast<i64>(once.step_ns));
  return measure(library, model.program(), model.weights(), calls, clock);
}

#if __has_include(<CL/cl.h>)
Status bench_opencl(const std::string& path, Clock& clock) {
  TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, {}));
  TG_ASSIGN(backend::Library library, backend::load_library("opencl"));
  TG_ASSIGN(Cost whole, measure_model(library, *model, clock));
  TG_ASSIGN(Cost host, measure_model({.table = null_opencl_backend()}, *model, clock));
  f64 overhead = host.step_ns + whole.meter_ns;
  fmt::print(
      "{} on opencl: {} ops, decode step {:.1f} us after {} keys; without driver and kernels "
      "{:.2f} "
      "us, metering {:.0f} ns; overhead {:.2f} us = {:.4f} %\n",
      path, whole.ops, whole.step_ns * 1e-3, kContext, host.step_ns * 1e-3, whole.meter_ns,
      overhead * 1e-3, 100 * overhead / whole.step_ns);
  return {};
}
#else
Status bench_opencl(const std::string&, Clock&) {
  return Error{Code::kUnsupported, "built without OpenCL's headers"};
}
#endif

Status bench(const std::string& path, Clock& clock) {
  TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, {}));
  TG_ASSIGN(backend::Library library, backend::load_library("cpu"));
  TG_ASSIGN(Cost whole, measure_model(library, *model, clock));
  TG_ASSIGN(Cost smallest, measure_smallest(std::max<i64>(1, whole.ops / 16), clock));
  f64 per_op = smallest.step_ns / static_cast<f64>(smallest.ops);
  f64 overhead = per_op * static_cast<f64>(whole.ops) + whole.meter_ns;
  fmt::print(
      "{}: {} ops, decode step {:.1f} us after {} keys; at most {:.1f} ns an op, metering "
      "{:.0f} ns; overhead at most {:.2f} us = {:.4f} %\n",
      path, whole.ops, whole.step_ns * 1e-3, kContext, per_op, whole.meter_ns, overhead * 1e-3,
      100 * overhead / whole.step_ns);
  return {};
}

}  // namespace

}  // namespace tg

int main(int argc, char** argv) {
  tg::SystemClock clock;
  std::vector<std::string> paths;
  bool is_opencl = false;
  for (int i = 1; i < argc; ++i) {
    is_opencl = is_opencl || std::string(argv[i]) == "--opencl";
    if (argv[i][0] != '-') paths.push_back(argv[i]);  // ./dev bench passes a filter to all
  }
  if (paths.empty()) paths.push_back(TG_SOURCE_DIR "/models/tokengrid-tiny.gguf");
  for (const std::string& path : paths) {
    tg::Status status = is_opencl ? tg::bench_opencl(path, clock) : tg::bench(path, clock);
    if (status.ok()) continue;
    fmt::print(stderr, "dispatch_bench: {}\n", status.error().message);
    return 1;
  }
  return 0;
}
