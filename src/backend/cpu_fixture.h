// What this folder's tests of whole executors share: executors on each CPU device, and steps on
// them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "backend/bound_executor.h"
#include "backend/cpu/backend.h"
#include "backend/tiny_llama.h"

namespace tg::backend {

inline constexpr ExecutorLimits kLimits = {.tokens_max = 512,
                                           .sequences_max = 32,
                                           .rows_max = 64,
                                           .context_max = 512,
                                           .kv_pages = 128,
                                           .threads = 1,
                                           .fresh_entry = true};

inline u32 device_count() {
  u32 count = 0;
  EXPECT_EQ(cpu::cpu_backend()->dev_count(&count), TG_OK);
  return count;
}

inline std::unique_ptr<Executor> make(const isa::VerifiedProgram& program,
                                      const RandomWeights& weights, i32 threads = 1,
                                      u32 device = 0) {
  ExecutorLimits limits = kLimits;
  limits.threads = threads;
  Result<std::unique_ptr<Executor>> made = bind_executor(
      {.library = {.table = cpu::cpu_backend()}, .device = device}, program, weights.table, limits);
  if (!made) ADD_FAILURE() << made.error().message;
  return std::move(made).value();
}

inline std::vector<i32> tokens_of(i64 count, u64 seed, i64 vocabulary) {
  SeededRandom random(seed);
  std::vector<i32> out;
  for (i64 i = 0; i < count; ++i) {
    out.push_back(static_cast<i32>(random.below(static_cast<u64>(vocabulary))));
  }
  return out;
}

inline std::vector<f32> run(Executor& executor, const PackedStep& batch) {
  Result<std::span<const f32>> logits = executor.run(batch.view());
  if (!logits) {
    ADD_FAILURE() << logits.error().message;
    return {};
  }
  return {logits->begin(), logits->end()};
}

}  // namespace tg::backend
