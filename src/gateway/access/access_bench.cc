// What identity, limits and fair shares cost a request, by the number of keys, projects and tenants
// that wait: the figures must not grow with them. And what a change of the file costs its reader.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <filesystem>

#include "base/bytes.h"
#include "gateway/access/fair_queue.h"
#include "gateway/access/limit_book.h"
#include "gateway/access/many_keys_testing.h"

namespace tg::gateway {
namespace {

constexpr i64 kNsPerRequest = 20'000;

void admit(benchmark::State& state) {
  ManyKeys many(static_cast<i64>(state.range(0)), static_cast<i64>(state.range(1)));
  std::shared_ptr<const Directory> directory = many.open()->load_directory().value();
  LimitBook book;
  SeededRandom random(1);
  i64 now_ns = 1'000'000'000'000;
  u64 admitted = 0;
  for (auto _ : state) {
    std::string key = many.key(static_cast<i64>(random.below(static_cast<u64>(many.keys()))));
    std::optional<KeyInfo> who = directory->find(key, Timestamp{now_ns});
    Demand most{.tokens = 500, .nst = 1'000'000};
    if (!book.admit(*who->standing, most, now_ns)) {
      ++admitted;
      benchmark::DoNotOptimize(
          book.headroom(*who->standing, LimitedResource::kRequests, now_ns).remaining);
      book.end(*who->standing,
               {.most = most, .used = {.tokens = 300, .nst = 1}, .admitted_ns = now_ns}, now_ns);
    }
    now_ns += kNsPerRequest;
  }
  state.counters["admitted"] =
      static_cast<f64>(admitted) / static_cast<f64>(std::max<i64>(1, state.iterations()));
}
BENCHMARK(admit)
    ->Args({10, 2})
    ->Args({1'000, 100})
    ->Args({10'000, 1'000})
    ->ArgNames({"keys", "projects"});

void load_directory(benchmark::State& state) {
  ManyKeys many(static_cast<i64>(state.range(0)), static_cast<i64>(state.range(0)) / 10);
  std::unique_ptr<KeyStore> store = many.open();
  for (auto _ : state) benchmark::DoNotOptimize(store->load_directory().value()->size());
}
BENCHMARK(load_directory)->Arg(100)->Arg(10'000)->Unit(benchmark::kMillisecond);

void take_turns(benchmark::State& state) {
  FairQueue queue;
  SeededRandom random(1);
  u64 id = 1;
  u64 tenants = static_cast<u64>(state.range(0));
  auto push = [&] {
    u64 tenant = random.below(tenants);
    queue.push(id++,
               {.service = static_cast<fleet::ServiceClass>(tenant % 3),
                .organisation = tenant % 50,
                .project = tenant},
               1 + static_cast<i64>(random.below(1'000)));
  };
  for (u64 i = 0; i < 2 * tenants; ++i) push();
  for (auto _ : state) {
    benchmark::DoNotOptimize(queue.pop());
    push();
  }
}
BENCHMARK(take_turns)->Arg(2)->Arg(100)->Arg(1'000)->Arg(10'000)->ArgName("tenants");

}  // namespace
}  // namespace tg::gateway

BENCHMARK_MAIN();
