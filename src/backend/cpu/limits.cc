#include "backend/cpu/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <utility>

namespace tg::backend::cpu {

namespace {

constexpr u64 kReadBytes = u64{512} << 20;
constexpr i64 kRounds = 2'000'000;
constexpr int kRepeats = 5;

// Units per second of `body(part)`, which returns what one share did, all shares at once.
template <typename Body>
f64 rate(Pool& pool, const Body& body) {
  std::vector<f64> done(static_cast<std::size_t>(pool.threads()));
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  pool.run(
      [&](i32 part, i32) { done[static_cast<std::size_t>(part)] = static_cast<f64>(body(part)); },
      pool.threads());
  std::chrono::duration<f64> seconds = std::chrono::steady_clock::now() - start;
  return std::accumulate(done.begin(), done.end(), 0.0) / seconds.count();
}

template <typename Body>
f64 best_rate(Pool& pool, const Body& body) {
  f64 best = 0;
  for (int i = 0; i < kRepeats; ++i) best = std::max(best, rate(pool, body));
  return best;
}

}  // namespace

ReadProbe::ReadProbe(const Kernels& kernels, Block memory, i32 threads)
    : kernels_(&kernels),
      memory_(std::move(memory)),
      threads_(threads),
      sinks_(static_cast<std::size_t>(threads) * 16) {
  std::memset(memory_.data(), 1, kReadBytes);
}

Result<ReadProbe> ReadProbe::open(const Kernels& kernels, i32 threads) {
  TG_ASSIGN(Block memory, Block::allocate(kReadBytes));
  return ReadProbe(kernels, std::move(memory), threads);
}

f64 ReadProbe::pass() {
  // A pool of its own for each pass: one that stays would spin beside what is measured next.
  Pool pool(threads_);
  pool.run([](i32, i32) {}, threads_);
  i64 share = static_cast<i64>(kReadBytes) / threads_ / 1'024 * 1'024;
  return rate(pool, [&](i32 part) {
    sinks_[static_cast<std::size_t>(part) * 16] +=
        kernels_->read_bytes(memory_.data() + part * share, share);
    return share;
  });
}

Result<Limits> measure_limits(const Kernels& kernels, Pool& pool) {
  TG_ASSIGN(ReadProbe probe, ReadProbe::open(kernels, pool.threads()));
  std::vector<f32> sinks(static_cast<std::size_t>(pool.threads()) * 16);
  Limits out;
  for (int i = 0; i < kRepeats; ++i) out.read_passes.push_back(probe.pass());
  out.read_bytes = *std::ranges::max_element(out.read_passes);
  out.f32_ops = best_rate(pool, [&](i32 part) {
    return kernels.peak_f32(kRounds, &sinks[static_cast<std::size_t>(part) * 16]);
  });
  out.int8_ops = best_rate(pool, [&](i32 part) {
    return kernels.peak_int8(kRounds, &sinks[static_cast<std::size_t>(part) * 16]);
  });
  out.bf16_ops = out.f32_ops;
  if (kernels.peak_bf16) {
    out.bf16_ops = best_rate(pool, [&](i32 part) {
      return kernels.peak_bf16(kRounds, &sinks[static_cast<std::size_t>(part) * 16]);
    });
  }
  return out;
}

}  // namespace tg::backend::cpu
