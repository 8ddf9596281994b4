// run() must not allocate (R4, and the house's rule for hot paths): the global operator new counts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "backend/cpu_fixture.h"

static std::atomic<long> allocation_count{0};

// Not inlined: g++ would take malloc and delete, seen side by side, for a mismatch.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* at = std::malloc(bytes);
  if (at == nullptr) std::abort();
  return at;
}
__attribute__((noinline)) void operator delete(void* at) noexcept {
  std::free(at);
}
__attribute__((noinline)) void operator delete(void* at, std::size_t) noexcept {
  std::free(at);
}

namespace tg::backend {
namespace {

TEST(Executor, run_allocates_nothing) {
  isa::VerifiedProgram program = verified(tiny_llama_text({.codec = "q4_k"}));
  RandomWeights weights(program.program(), 3);
  for (u32 device = 0; device < device_count(); ++device) {
    std::unique_ptr<Executor> executor = make(program, weights, 2, device);
    OwnedBatch batch;
    batch.add(tokens_of(40, 1, 320), 0, std::vector<i32>{1, 2, 3}, 1);
    batch.add(tokens_of(9, 2, 320), 0, std::vector<i32>{4}, 3);
    StepBatch view = batch.view();
    long before = allocation_count.load();
    Result<std::span<const f32>> first = executor->run(view);
    long after = allocation_count.load();
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(after - before, 0) << executor->device_name();
  }
  long before = allocation_count.load();
  std::vector<i32> grows(1);
  EXPECT_GT(allocation_count.load(), before) << "the counter counts";
}

}  // namespace
}  // namespace tg::backend
