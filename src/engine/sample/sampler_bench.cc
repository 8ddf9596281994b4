// Time per row of a large vocabulary, for the common kinds of parameters. Logits are spread like a
// language model's: a bell with a few high ones.
#include <benchmark/benchmark.h>

#include <vector>

#include "engine/sample/sampler.h"
#include "env/random.h"

namespace tg::engine {
namespace {

constexpr std::size_t kVocabulary = 128'256;

std::vector<f32> model_like_logits() {
  SeededRandom random(1);
  std::vector<f32> logits(kVocabulary);
  for (f32& logit : logits) {
    f64 sum = 0;
    for (i64 i = 0; i < 12; ++i) sum += random.uniform();
    logit = static_cast<f32>((sum - 6) * 2.5);
  }
  for (i64 i = 0; i < 20; ++i) logits[random.below(kVocabulary)] = 18.0f - static_cast<f32>(i) / 2;
  return logits;
}

void run(benchmark::State& state, isa::SamplingParams params) {
  std::vector<f32> logits = model_like_logits();
  std::vector<i32> tokens(1'000, 7);
  Sampler sampler(static_cast<i64>(kVocabulary));
  for ([[maybe_unused]] auto _ : state) {
    ++params.seed;
    benchmark::DoNotOptimize(
        sampler.sample({.logits = logits, .params = params, .tokens = tokens}));
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(run, greedy, {.temperature = 0});
BENCHMARK_CAPTURE(run, temperature_1, {});
BENCHMARK_CAPTURE(run, temperature_2, {.temperature = 2});
BENCHMARK_CAPTURE(run, top_k_50, {.top_k = 50});
BENCHMARK_CAPTURE(run, top_p_95, {.top_p = 0.95f});
BENCHMARK_CAPTURE(run, penalties_top_p_95,
                  {.top_p = 0.95f, .repetition_penalty = 1.1f, .frequency_penalty = 0.2f});

void run_logprobs(benchmark::State& state) {
  std::vector<f32> logits = model_like_logits();
  LogprobReader reader(static_cast<i64>(kVocabulary));
  std::vector<std::pair<i32, f32>> top;
  for ([[maybe_unused]] auto _ : state) {
    top.clear();
    reader.read(logits);
    reader.top(5, top);
    benchmark::DoNotOptimize(top.data());
  }
}
BENCHMARK(run_logprobs);

}  // namespace
}  // namespace tg::engine

BENCHMARK_MAIN();
