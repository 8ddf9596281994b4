#include "backend/cpu/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace tg::backend::cpu {

namespace {

constexpr u64 kReadBytes = u64{512} << 20;
constexpr i64 kRounds = 2'000'000;
constexpr int kRepeats = 5;

// Units per second of `body(part)`, which returns what one share did, all shares at once.
template <typename Body>
f64 best_rate(Pool& pool, const Body& body) {
  f64 best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    std::vector<f64> done(static_cast<std::size_t>(pool.threads()));
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    pool.run(
        [&](i32 part, i32) { done[static_cast<std::size_t>(part)] = static_cast<f64>(body(part)); },
        pool.threads());
    std::chrono::duration<f64> seconds = std::chrono::steady_clock::now() - start;
    f64 total = 0;
    for (f64 units : done) total += units;
    best = std::max(best, total / seconds.count());
  }
  return best;
}

}  // namespace

Result<Limits> measure_limits(const Kernels& kernels, Pool& pool) {
  TG_ASSIGN(Block memory, Block::allocate(kReadBytes));
  std::memset(memory.data(), 1, kReadBytes);
  std::vector<f32> sinks(static_cast<std::size_t>(pool.threads()) * 16);
  Limits out;
  i64 share = static_cast<i64>(kReadBytes) / pool.threads() / 1'024 * 1'024;
  out.read_bytes = best_rate(pool, [&](i32 part) {
    sinks[static_cast<std::size_t>(part) * 16] +=
        kernels.read_bytes(memory.data() + part * share, share);
    return share;
  });
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
