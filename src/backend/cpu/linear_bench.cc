// Linear on the best variant: one token over matrices far larger than the cache (GB/s of packed
// weights), and 512 tokens (GFLOP/s, of the two-thread f32 peak that bench notes give). Arguments:
// panel form, threads.
#include <benchmark/benchmark.h>

#include "backend/cpu/memory.h"
#include "backend/cpu/pool.h"
#include "backend/cpu/variant.h"

namespace tg::backend::cpu {
namespace {

struct Setup {
  static constexpr i64 kColumns = 4'096;
  PanelForm form;
  i64 rows;
  Block weights;
  std::vector<f32> x, y, scratch;

  Setup(PanelForm panel_form, i64 n, i64 tokens, i32 threads)
      : form(panel_form),
        rows(n),
        weights(Block::allocate(static_cast<u64>(panel_count(n) * panel_bytes(form, kColumns)))
                    .value()),
        x(static_cast<std::size_t>(tokens * kColumns), 0.5f),
        y(static_cast<std::size_t>(tokens * n)),
        scratch(static_cast<std::size_t>(threads * linear_scratch(kColumns))) {
    // Small positive numbers in every format: no subnormals, no NaN.
    for (u64 i = 0; i < weights.bytes(); ++i) weights.data()[i] = i % 2 == 0 ? 0x11 : 0x2c;
  }

  LinearArgs args(i64 tokens) {
    return {.form = form,
            .w = weights.data(),
            .x = x.data(),
            .y = y.data(),
            .scratch = scratch.data(),
            .tokens = tokens,
            .n = rows,
            .k = kColumns,
            .x_stride = kColumns,
            .y_stride = rows};
  }
};

void run(benchmark::State& state, i64 rows, i64 tokens) {
  i32 threads = static_cast<i32>(state.range(1));
  Setup setup(static_cast<PanelForm>(state.range(0)), rows, tokens, threads);
  Pool pool(threads);
  const Kernels& kernels = *supported_variants()[0];
  LinearArgs args = setup.args(tokens);
  for (auto _ : state) {
    pool.run([&](i32 part, i32 parts) { kernels.linear(args, part, parts); }, threads);
    benchmark::DoNotOptimize(setup.y.data());
  }
  state.SetLabel(kernels.name);
  f64 steps = static_cast<f64>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(
      steps * static_cast<f64>(setup.weights.bytes()) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GFLOP/s"] =
      benchmark::Counter(steps * 2e-9 * static_cast<f64>(rows * tokens * Setup::kColumns),
                         benchmark::Counter::kIsRate);
}

void gemv(benchmark::State& state) {
  run(state, 32'768, 1);
}
void gemm(benchmark::State& state) {
  run(state, 2'048, 512);
}

void forms(benchmark::internal::Benchmark* bench) {
  for (PanelForm form : {PanelForm::kQ8_0, PanelForm::kQ4_0, PanelForm::kQ4K, PanelForm::kQ6K,
                         PanelForm::kBf16, PanelForm::kF32}) {
    for (i64 threads : {1, 2}) bench->Args({static_cast<i64>(form), threads});
  }
}

BENCHMARK(gemv)->Apply(forms)->ArgNames({"form", "threads"})->UseRealTime();
BENCHMARK(gemm)->Apply(forms)->ArgNames({"form", "threads"})->UseRealTime();

void fork_join(benchmark::State& state) {
  Pool pool(static_cast<i32>(state.range(0)));
  for (auto _ : state) pool.run([](i32, i32) {}, pool.threads());
}
BENCHMARK(fork_join)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
}  // namespace tg::backend::cpu

BENCHMARK_MAIN();
