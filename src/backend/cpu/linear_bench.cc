// Linear on every variant of this machine that matters: one token over matrices far larger than the
// cache (GB/s of packed weights), small batches, and 512 tokens (Gop/s), each also as a fraction of
// what the machine allowed when this program started (limits.h). `quantised` has int8 activations,
// `rounded` bf16 ones.
// Arguments: panel form, threads, tokens, variant from the best on.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <map>

#include "backend/cpu/limits.h"

namespace tg::backend::cpu {
namespace {

struct Setup {
  static constexpr i64 kColumns = 4'096;
  PanelForm form;
  i64 rows;
  Block weights;
  std::vector<f32> x, y, scratch;
  std::vector<u8> codes;

  Setup(PanelForm panel_form, i64 n, i64 tokens, i32 threads)
      : form(panel_form),
        rows(n),
        weights(Block::allocate(static_cast<u64>(panel_count(n) * panel_bytes(form, kColumns)))
                    .value()),
        x(static_cast<std::size_t>(tokens * kColumns), 0.5f),
        y(static_cast<std::size_t>(tokens * n)),
        scratch(static_cast<std::size_t>(threads * linear_scratch(kColumns))),
        codes(static_cast<std::size_t>(
            std::max(int8_bytes(tokens, kColumns), split_bytes(tokens, kColumns, 1)))) {
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

const Limits& limits_of(const Kernels& kernels, i32 threads) {
  static std::map<std::pair<const Kernels*, i32>, Limits> known;
  Limits& limits = known[{&kernels, threads}];
  Pool pool(threads);
  if (limits.read_bytes == 0) limits = measure_limits(kernels, pool).value();
  return limits;
}

const Kernels& variant(i64 index) {
  std::size_t last = supported_variants().size() - 1;
  return *supported_variants()[std::min(static_cast<std::size_t>(index), last)];
}

void report(benchmark::State& state, const Setup& setup, i64 tokens, const Kernels& kernels,
            f64 peak) {
  state.SetLabel(kernels.name);
  f64 steps = static_cast<f64>(state.iterations());
  f64 bytes = steps * static_cast<f64>(setup.weights.bytes());
  f64 operations = steps * 2.0 * static_cast<f64>(setup.rows * tokens * Setup::kColumns);
  f64 read = limits_of(kernels, static_cast<i32>(state.range(1))).read_bytes;
  constexpr benchmark::Counter::Flags kRate = benchmark::Counter::kIsRate;
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, kRate);
  state.counters["of_read"] = benchmark::Counter(bytes / read, kRate);
  state.counters["Gop/s"] = benchmark::Counter(operations * 1e-9, kRate);
  state.counters["of_peak"] = benchmark::Counter(operations / peak, kRate);
}

i64 rows_for(i64 tokens) {
  return tokens == 1 ? 32'768 : tokens < 64 ? 8'192 : 2'048;
}

void plain(benchmark::State& state) {
  i32 threads = static_cast<i32>(state.range(1));
  i64 tokens = state.range(2);
  Setup setup(static_cast<PanelForm>(state.range(0)), rows_for(tokens), tokens, threads);
  const Kernels& kernels = variant(state.range(3));
  f64 peak = limits_of(kernels, threads).f32_ops;
  Pool pool(threads);
  LinearArgs args = setup.args(tokens);
  for (auto _ : state) {
    pool.run([&](i32 part, i32 parts) { kernels.linear(args, part, parts); }, threads);
    benchmark::DoNotOptimize(setup.y.data());
  }
  report(state, setup, tokens, kernels, peak);
}

void quantised(benchmark::State& state) {
  i32 threads = static_cast<i32>(state.range(1));
  i64 tokens = state.range(2);
  Setup setup(static_cast<PanelForm>(state.range(0)), rows_for(tokens), tokens, threads);
  const Kernels& kernels = variant(state.range(3));
  f64 peak = limits_of(kernels, threads).int8_ops;
  Pool pool(threads);
  LinearArgs args = setup.args(tokens);
  args.x8 = int8_rows_at(setup.codes.data(), tokens, args.k);
  QuantizeArgs rounding{.form = args.form,
                        .x = args.x,
                        .tokens = tokens,
                        .k = args.k,
                        .x_stride = args.k,
                        .rows = args.x8};
  for (auto _ : state) {
    i32 shares = tokens == 1 ? 1 : threads;
    pool.run([&](i32 part, i32 parts) { kernels.quantize(rounding, part, parts); }, shares);
    pool.run([&](i32 part, i32 parts) { kernels.linear(args, part, parts); }, threads);
    benchmark::DoNotOptimize(setup.y.data());
  }
  report(state, setup, tokens, kernels, peak);
}

void rounded(benchmark::State& state) {
  const Kernels& kernels = variant(state.range(3));
  if (!kernels.split.task) return state.SkipWithError("no instruction for bf16");
  i32 threads = static_cast<i32>(state.range(1));
  i64 tokens = state.range(2);
  Setup setup(static_cast<PanelForm>(state.range(0)), rows_for(tokens), tokens, threads);
  f64 peak = limits_of(kernels, threads).bf16_ops;
  Pool pool(threads);
  LinearArgs args = setup.args(tokens);
  args.split = split_rows_at(setup.codes.data(), tokens, 1);
  SplitArgs rounding{
      .x = args.x, .tokens = tokens, .k = args.k, .x_stride = args.k, .rows = args.split};
  for (auto _ : state) {
    i32 shares = tokens == 1 ? 1 : threads;
    pool.run([&](i32 part, i32 parts) { kernels.split(rounding, part, parts); }, shares);
    pool.run([&](i32 part, i32 parts) { kernels.linear_split(args, part, parts); }, threads);
    benchmark::DoNotOptimize(setup.y.data());
  }
  report(state, setup, tokens, kernels, peak);
}

void arguments(benchmark::internal::Benchmark* bench, std::initializer_list<PanelForm> forms,
               std::initializer_list<i64> tokens, i64 variants) {
  bench->ArgNames({"form", "threads", "tokens", "variant"})->UseRealTime();
  for (PanelForm form : forms) {
    for (i64 rows : tokens) {
      for (i64 v = 0; v < variants; ++v) {
        for (i64 threads : {1, 2}) bench->Args({static_cast<i64>(form), threads, rows, v});
      }
    }
  }
}

void plain_arguments(benchmark::internal::Benchmark* bench) {
  arguments(bench, {PanelForm::kQ8_0, PanelForm::kQ4K, PanelForm::kBf16, PanelForm::kF32}, {1, 512},
            1);
}
void quantised_arguments(benchmark::internal::Benchmark* bench) {
  arguments(bench,
            {PanelForm::kQ8_0, PanelForm::kQ4_0, PanelForm::kQ4K, PanelForm::kQ6K, PanelForm::kQ5K},
            {1, 4, 8, 32, 512}, 2);
}

void rounded_arguments(benchmark::internal::Benchmark* bench) {
  arguments(bench, {PanelForm::kBf16}, {1, 4, 8, 32, 512}, 1);
}

BENCHMARK(plain)->Apply(plain_arguments);
BENCHMARK(quantised)->Apply(quantised_arguments);
BENCHMARK(rounded)->Apply(rounded_arguments);

void fork_join(benchmark::State& state) {
  Pool pool(static_cast<i32>(state.range(0)));
  for (auto _ : state) pool.run([](i32, i32) {}, pool.threads());
}
BENCHMARK(fork_join)->Arg(1)->Arg(2)->UseRealTime();

void limits(benchmark::State& state) {
  const Kernels& kernels = variant(state.range(1));
  const Limits& found = limits_of(kernels, static_cast<i32>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(&found);
  state.SetLabel(kernels.name);
  state.counters["read_GB/s"] = found.read_bytes * 1e-9;
  state.counters["f32_Gop/s"] = found.f32_ops * 1e-9;
  state.counters["bf16_Gop/s"] = found.bf16_ops * 1e-9;
  state.counters["int8_Gop/s"] = found.int8_ops * 1e-9;
}
BENCHMARK(limits)
    ->ArgsProduct({{1, 2}, {0, 1, 3}})
    ->ArgNames({"threads", "variant"})
    ->Iterations(1);

}  // namespace
}  // namespace tg::backend::cpu

BENCHMARK_MAIN();
