// What the bytecode costs beyond its kernels, as a part of a decode step.
//
//   dispatch_bench [--threads N] [--seconds N] [--llama-1b] [MODEL.gguf ...]
//                                        (one thread, 20 s a model, the bundled target model)
//   dispatch_bench --opencl [MODEL.gguf ...]
//   dispatch_bench --cuda [MODEL.gguf ...]
//
// Two ways through the same step take turns in one process, over the same packed weights, the
// same cache and the same places of results, and must give the same logits to the bit: the shipped
// one (the executor's run() with all its checks, and the evaluation of the cost matrix) and the
// direct one (direct_llama.h), which calls the same kernels one after the other. Each pair of steps
// gives a difference; the overhead is their median, its 95 % interval is that of the median by
// order statistics.
//
// --llama-1b: the made-up decoder of 1.1 billion parameters, q4_k.
// --opencl: the model's own step on the first OpenCL device, and the same step over a driver whose
// every call returns at once. What that takes is everything but the driver and the kernels.
// --cuda: only the second, over such a driver of CUDA's: what it would be of a step of half a
// millisecond.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "backend/bound_executor.h"
#include "backend/cuda/fake_silent_driver.h"
#include "backend/tiny_llama.h"
#include "bench/direct_llama.h"
#include "bench/made_up_llama.h"
#include "bench/spied_cpu.h"
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
constexpr i64 kContextMax = 512;
constexpr backend::ExecutorLimits kLimits = {.tokens_max = kContext,
                                             .sequences_max = 4,
                                             .rows_max = 4,
                                             .context_max = kContextMax,
                                             .kv_pages = 40};

struct Cost {
  i64 ops = 0;
  f64 step_ns = 0;
  f64 meter_ns = 0;
};

// One sequence: kContext tokens at once, or the one that follows them.
backend::PackedStep batch_of(i64 past, i64 count, i64 vocabulary) {
  std::vector<i32> ids;
  for (i64 i = 0; i < count; ++i) ids.push_back(static_cast<i32>((past + i) % vocabulary));
  backend::PackedStep batch;
  batch.add(ids, past, backend::pages_from(0, (past + count) / kPageTokens + 1), 1);
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
  backend::PackedStep prompt = batch_of(0, kContext, executor->vocabulary());
  backend::PackedStep decode = batch_of(kContext, 1, executor->vocabulary());
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

// No device: a decode step is one graph's launch, and all around it.
Status bench_cuda(const std::string& path, Clock& clock) {
  constexpr f64 kShortDecodeNs = 500'000;
  TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, {}));
  TG_ASSIGN(Cost host, measure_model({.table = backend::cuda::silent_backend()}, *model, clock));
  f64 overhead = host.step_ns + host.meter_ns;
  fmt::print(
      "{} on cuda, no driver and no kernels: {} ops, decode step {:.3f} us, metering {:.0f} ns; "
      "{:.3f} us = {:.3f} % of a step of 0.5 ms\n",
      path, host.ops, host.step_ns * 1e-3, host.meter_ns, overhead * 1e-3,
      100 * overhead / kShortDecodeNs);
  return {};
}

struct Options {
  i32 threads = 1;
  i64 seconds = 20;
};

// Nanoseconds of a step, by the wall's clock and of all threads together.
struct Times {
  f64 wall = 0, cpu = 0;
};

f64 cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return 1e9 * static_cast<f64>(now.tv_sec) + static_cast<f64>(now.tv_nsec);
}

template <typename Step>
Times timed(Clock& clock, const Step& step) {
  f64 cpu = cpu_ns();
  i64 start = clock.monotonic_ns();
  step();
  f64 wall = static_cast<f64>(clock.monotonic_ns() - start);
  return {.wall = wall, .cpu = cpu_ns() - cpu};
}

f64 median(std::vector<f64> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// A median and the 95 % interval that order statistics give it.
struct Estimate {
  f64 middle = 0, low = 0, high = 0;
};

Estimate estimate(std::vector<f64> values) {
  std::sort(values.begin(), values.end());
  f64 n = static_cast<f64>(values.size());
  f64 half = 0.98 * std::sqrt(n);
  auto at = [&values](f64 rank) {
    f64 last = static_cast<f64>(values.size() - 1);
    return values[static_cast<std::size_t>(std::clamp(rank, 0.0, last))];
  };
  return {.middle = at(n / 2), .low = at(n / 2 - half), .high = at(n / 2 + half)};
}

// The two ways through a decode step after kContext keys.
class Pair {
 public:
  Pair(const isa::VerifiedProgram& program, backend::Executor& executor, DirectLlama& direct)
      : program_(program),
        executor_(executor),
        direct_(direct),
        decode_(batch_of(kContext, 1, executor.vocabulary())) {}

  // The same logits to the bit, or an error. The direct step is first: it finds no key of the
  // other's.
  Status check() {
    TG_TRY(executor_.run(batch_of(0, kContext, executor_.vocabulary()).view()));
    std::span<const f32> there = step_direct();
    std::vector<f32> direct(there.begin(), there.end());
    std::ranges::fill(std::span(const_cast<f32*>(there.data()), there.size()), 0.0f);
    step_shipped();
    TG_TRY(status_);
    if (direct.size() == logits_.size() &&
        std::memcmp(direct.data(), logits_.data(), direct.size() * sizeof(f32)) == 0) {
      return {};
    }
    return Error{Code::kCorrupt, "the direct step has other logits"};
  }

  void step_shipped() {
    Result<std::span<const f32>> logits = executor_.run(decode_.view());
    if (!logits) status_ = logits.error();
    if (logits) logits_ = *logits;
    unit::SequenceStep step{kContext, 1, 1};
    Result<unit::Counters> counters =
        unit::evaluate(program_.cost(), {&step, 1}, executor_.expert_hits());
    TG_ASSERT(counters.ok());
  }
  std::span<const f32> step_direct() { return direct_.step(decode_.ids[0], decode_.past[0]); }

  // A step of another shape, after which the backend lists its calls anew.
  void step_other() {
    backend::PackedStep two = batch_of(kContext, 2, executor_.vocabulary());
    Result<std::span<const f32>> logits = executor_.run(two.view());
    if (!logits) status_ = logits.error();
  }
  const Status& status() const { return status_; }

 private:
  const isa::VerifiedProgram& program_;
  backend::Executor& executor_;
  DirectLlama& direct_;
  backend::PackedStep decode_;
  std::span<const f32> logits_;
  Status status_;
};

struct Samples {
  std::vector<f64> direct, wall, cpu;  // the direct step; shipped minus direct
};

// A step at another depth of the stack. Where a kernel's frame lies against what it reads, modulo a
// page, decides on more than calls cost, and differs by process: so steps go through all places.
template <typename Step>
[[gnu::noinline]] void run_deeper(std::size_t bytes, const Step& step) {
  volatile char* room = static_cast<volatile char*>(__builtin_alloca(bytes + 1));
  room[0] = 0;
  step();
}

// Turns in alternating order. With several threads each way's own step goes before the timed one,
// so that no thread of the other's still waits for work.
Samples take_turns(Pair& pair, const Options& options, Clock& clock) {
  Samples samples;
  i64 end = clock.monotonic_ns() + options.seconds * 1'000'000'000;
  auto shipped = [&pair] { pair.step_shipped(); };
  auto direct = [&pair] { pair.step_direct(); };
  constexpr std::size_t kPage = 4'096;
  constexpr std::size_t kStride = 37 * 64;  // passes all lines of a page
  std::size_t depth = 0;
  auto turn = [&](const auto& step) {
    if (options.threads > 1) step();
    return timed(clock, [&] { run_deeper(depth, step); });
  };
  for (bool is_shipped_first = false; clock.monotonic_ns() < end;
       is_shipped_first = !is_shipped_first) {
    Times a, b;
    depth = (depth + kStride) % kPage;
    if (is_shipped_first) a = turn(shipped);
    b = turn(direct);
    if (!is_shipped_first) a = turn(shipped);
    samples.direct.push_back(b.wall);
    samples.wall.push_back(a.wall - b.wall);
    samples.cpu.push_back(a.cpu - b.cpu);
  }
  return samples;
}

// What a step takes more if the one before it had another shape.
std::vector<f64> listing_ns(Pair& pair, Clock& clock) {
  constexpr i64 kTimes = 50;
  std::vector<f64> more;
  for (i64 i = 0; i < kTimes; ++i) {
    pair.step_other();
    f64 after_other = timed(clock, [&pair] { pair.step_shipped(); }).wall;
    more.push_back(after_other - timed(clock, [&pair] { pair.step_shipped(); }).wall);
  }
  return more;
}

void print_estimate(const char* what, std::vector<f64> ns, f64 step) {
  Estimate e = estimate(std::move(ns));
  fmt::print("  {}: {:.3f} us [{:.3f}, {:.3f}] = {:.4f} % [{:.4f}, {:.4f}]\n", what,
             e.middle * 1e-3, e.low * 1e-3, e.high * 1e-3, 100 * e.middle / step,
             100 * e.low / step, 100 * e.high / step);
}

Status bench(const std::string& name, const isa::VerifiedProgram& program,
             const isa::WeightTable& weights, const Options& options, Clock& clock) {
  BoundMemory memory;
  backend::ExecutorLimits limits = kLimits;
  limits.threads = options.threads;
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::bind_executor({.library = spied_cpu(memory)}, program, weights, limits));
  TG_ASSIGN(std::unique_ptr<DirectLlama> direct,
            DirectLlama::make(memory, options.threads, kContextMax));
  Pair pair(program, *executor, *direct);
  TG_TRY(pair.check());
  Samples samples = take_turns(pair, options, clock);
  TG_TRY(pair.check());
  f64 step = median(samples.direct);
  TG_ASSIGN(isa::FlatProgram flat, program.flatten("main"));
  fmt::print("{}: {} ops on {}, {} threads; direct step after {} keys {:.2f} us, {} pairs\n", name,
             flat.code.size(), executor->device_name(), options.threads, kContext, step * 1e-3,
             samples.direct.size());
  print_estimate("overhead by the clock", samples.wall, step);
  print_estimate("overhead by CPU time ", samples.cpu, step);
  print_estimate("after another shape, more", listing_ns(pair, clock), step);
  fmt::print("  of the overhead metering: {:.0f} ns\n", meter_ns(program, clock));
  return pair.status();
}

Status bench_file(const std::string& path, const Options& options, Clock& clock) {
  TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, {}));
  return bench(path, model->program(), model->weights(), options, clock);
}

Status bench_llama_1b(const Options& options, Clock& clock) {
  constexpr i64 kLayers = 22;
  isa::VerifiedProgram program = made_up_llama("q4_k", "i8/32", kLayers);
  MadeUpWeights weights(program.program());
  return bench("llama-1b, made up, q4_k", program, weights.table, options, clock);
}

}  // namespace

}  // namespace tg

int main(int argc, char** argv) {
  tg::SystemClock clock;
  tg::Options options;
  std::vector<std::string> paths;
  bool is_opencl = false;
  bool is_cuda = false;
  bool is_llama_1b = false;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (arg == "--opencl") {
      is_opencl = true;
    } else if (arg == "--cuda") {
      is_cuda = true;
    } else if (arg == "--llama-1b") {
      is_llama_1b = true;
    } else if (arg == "--threads" && i + 1 < argc) {
      options.threads = std::max(1, std::atoi(argv[++i]));
    } else if (arg == "--seconds" && i + 1 < argc) {
      options.seconds = std::max(1, std::atoi(argv[++i]));
    } else if (arg[0] != '-') {  // ./dev bench passes a filter to all
      paths.push_back(arg);
    }
  }
  if (paths.empty() && !is_llama_1b) paths.push_back(TG_SOURCE_DIR "/models/tokengrid-tiny.gguf");
  tg::Status status = is_llama_1b ? tg::bench_llama_1b(options, clock) : tg::Status();
  for (const std::string& path : paths) {
    if (!status.ok()) break;
    status = is_opencl ? tg::bench_opencl(path, clock)
             : is_cuda ? tg::bench_cuda(path, clock)
                       : tg::bench_file(path, options, clock);
  }
  if (!status.ok()) fmt::print(stderr, "dispatch_bench: {}\n", status.error().message);
  return status.ok() ? 0 : 1;
}
