// How long a decision takes among many suppliers.
#include <benchmark/benchmark.h>

#include "dispatch/choose.h"

namespace tg::dispatch {
namespace {

PoolView pool_of(i64 count) {
  PoolView pool;
  for (i64 i = 0; i < count; ++i) {
    SupplierView v;
    v.step = {.ns_per_step = 8e6, .ns_per_token = 2e4, .ns_per_row = 1e4, .ns_per_key = 5};
    v.keys_total = 400'000;
    v.running = (i * 7919) % 64;
    v.keys = v.running * 1000;
    v.price = {100, 10, 400};
    v.prompts_done_ns = (i * 104729) % 1'000'000'000;
    pool.add(v);
  }
  return pool;
}

void decide(benchmark::State& state, Policy policy) {
  PoolView pool = pool_of(state.range(0));
  std::vector<u32> cached(pool.size());
  for (std::size_t i = 0; i < cached.size(); i += 3) cached[i] = 512;
  RouteRequest request{.prompt_tokens = 2000, .output_tokens = 300, .session = 7};
  RouteSettings settings{.hold_ns = 500'000'000};
  u64 sequence = 0;
  for (auto _ : state) {
    ++sequence;
    Moment moment{.now_ns = 500'000'000, .sequence = sequence, .random = sequence * 77};
    benchmark::DoNotOptimize(choose(policy, request, pool, {cached, 0}, settings, moment));
  }
}

void register_all() {
  for (u8 i = 0; i < static_cast<u8>(Policy::kCount); ++i) {
    Policy policy = static_cast<Policy>(i);
    std::string name = "choose/" + std::string(policy_name(policy));
    benchmark::RegisterBenchmark(name.c_str(), decide, policy)->Arg(1000);
  }
}

const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace tg::dispatch

BENCHMARK_MAIN();
