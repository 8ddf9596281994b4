// What a step costs before and after the device runs it: schedule() with a full batch that decodes,
// with a long line behind it, and with a pool so full that admission has to simulate it.
#include <benchmark/benchmark.h>

#include <memory>

#include "base/assert.h"
#include "engine/sched/scheduler.h"

namespace tg::engine {
namespace {

constexpr i64 kPrompt = 512;
constexpr i64 kBlockTokens = 16;

struct Setting {
  i64 running;
  i64 waiting;
  i64 blocks;
};

void add(SequenceQueue& queue, u64 id) {
  SequenceQueue::Owned s = std::make_unique<Sequence>();
  s->request.id = id;
  s->request.max_tokens = 1'000'000;
  s->request.funded_tokens = 1'000'000;
  s->serial = id;
  s->ripe_ns = 1'000'000'000'000;
  s->tokens.reserve(1'000'000);
  s->tokens.assign(kPrompt, static_cast<i32>(id));
  queue.add(std::move(s));
}

void schedule(benchmark::State& state, Setting setting) {
  BlockPool pool({.blocks = setting.blocks, .block_tokens = kBlockTokens, .prefix_cache = false});
  Scheduler scheduler({.running_max = setting.running,
                       .step_tokens_max = setting.running * kPrompt,
                       .context_max = 4'096,
                       .step_target_ns = 100'000'000,
                       .preemptions_max = 3,
                       .output_guess = 256},
                      pool);
  StepModel model;
  SequenceQueue queue;
  queue.reserve(setting.running, setting.waiting + setting.running);
  for (i64 i = 0; i < setting.running + setting.waiting; ++i) add(queue, static_cast<u64>(i));
  i64 now_ns = 0;
  auto step = [&] {
    const Plan& plan = scheduler.schedule(queue, pool, model, ++now_ns);
    TG_ASSERT(plan.preempted.empty());
    for (i64 i = 0; i < queue.running(); ++i) queue.at(i).computed += plan.tokens[i];
  };
  step();
  for ([[maybe_unused]] auto _ : state) {
    // They decode, but never grow out of their blocks.
    for (i64 i = 0; i < queue.running(); ++i) queue.at(i).computed = kPrompt - 1;
    step();
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["running"] = static_cast<double>(queue.running());
}

// Room for all of them, and for 48 of 64 with the outputs that are expected.
BENCHMARK_CAPTURE(schedule, running_64, {64, 0, 8'192});
BENCHMARK_CAPTURE(schedule, running_64_waiting_1000, {64, 1'000, 8'192});
BENCHMARK_CAPTURE(schedule, memory_full_waiting_1000, {64, 1'000, 48 * 49});

}  // namespace
}  // namespace tg::engine

BENCHMARK_MAIN();
