// run() must not allocate (R4, and the house's rule for hot paths): the global operator new counts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "backend/bound_executor.h"
#include "backend/cpu_fixture.h"
#include "backend/cuda/fake_silent_driver.h"

static std::atomic<long> allocation_count{0};

// Not inlined: g++ would take malloc and delete, seen side by side, for a mismatch.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* at = std::malloc(bytes);
  if (at == nullptr) std::abort();
  return at;
}
__attribute__((noinline)) void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return operator new(bytes);
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
    PackedStep batch;
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

// CUDA's host side, over a driver that does nothing: prompts by launches and decode steps by
// graphs.
TEST(Executor, run_allocates_nothing_for_cuda) {
  isa::VerifiedProgram program = verified(tiny_llama_text({.codec = "q4_k"}));
  RandomWeights weights(program.program(), 3);
  constexpr ExecutorLimits kLimits = {
      .tokens_max = 64, .sequences_max = 8, .rows_max = 8, .context_max = 1'024, .kv_pages = 64};
  std::unique_ptr<Executor> executor =
      bind_executor({.library = {.table = cuda::silent_backend()}, .device = 0}, program,
                    weights.table, kLimits)
          .value();
  for (std::size_t fresh : {std::size_t{40}, std::size_t{1}}) {
    PackedStep batch;
    batch.add(std::vector<i32>(fresh, 7), 0, std::vector<i32>{1, 2, 3}, 1);
    StepBatch view = batch.view();
    long before = allocation_count.load();
    bool ran = executor->run(view).ok();
    EXPECT_EQ(allocation_count.load() - before, 0) << fresh << " tokens";
    EXPECT_TRUE(ran);
  }
}

std::vector<u8> results_of(const Executor& executor) {
  std::vector<u8> out;
  for (std::size_t i = 0; i < executor.results(); ++i) {
    ResultView result = executor.result(i);
    const u8* bytes = static_cast<const u8*>(result.data);
    out.insert(out.end(), bytes, bytes + result.rows * result.columns * 4);
  }
  return out;
}

// Experts, a tree over a quantised cache, rounded activations, sampling, verification.
const char* const kProfiles = R"(.tgp 1.0 profile=TEXT,MOE,SPEC,EMBED
.dim T<=64 S<=8 R<=64 C<=256
.kv $kv layers=1 heads=2 dk=32 dv=32 fmt=q8_0 page=16
.w $embd q8_0[96,64]
.w $router f32[8,64]
.w $eg q4_0[8,32,64]
.w $ed q8_0[8,64,32]
.w $up q8_0[2,32,32]
.w $head q4_0[96,64]
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch, %p params) -> %id, %lp, %n, %tk, %all
  %x = embed $embd, %ids -> f32[T,64]
  kv_append $kv[0], %x, %x, %bt
  %a = attn %x, $kv[0], %bt {heads=2 scale=0.2 mask=tree} -> f32[T,64]
  %lg = linear %a, $router {xq=i8/tok} -> f32[T,8]
  %w, %pm = route %lg {k=2 groups=2 topk_groups=1} -> f32[T,2], perm[T,2,8]
  %g = grouped_linear %a, $eg, %pm {xq=mxfp4} -> f32[2*T,32]
  %d = grouped_linear %g, $ed, %pm -> f32[2*T,64]
  %c = combine %d, %pm, %w -> f32[T,64]
  %ch = view %c -> f32[T,2,32]
  %b = bmm %ch, $up {trans=1} -> f32[T,2,32]
  %f = view %b -> f32[T,64]
  %all = pool %f, %bt {pooling=mean norm=1} -> f32[S,64]
  %r = gather %f, %rows -> f32[R,64]
  %l = linear %r, $head -> f32[R,96]
  %z = logits %l, %p -> f32[R,96]
  %id, %lp = sample %z, %p -> i32[R], f32[R]
  %n, %tk = spec_verify %z, %ids, %rows, %p, %bt -> i32[S], i32[S]
.end
)";

TEST(Executor, run_allocates_nothing_in_the_other_profiles_and_repeats_itself) {
  isa::VerifiedProgram program = verified(kProfiles);
  RandomWeights weights(program.program(), 3);
  isa::SamplingParams params{.temperature = 0.8f, .top_k = 20, .top_p = 0.9f};
  params.repetition_penalty = 1.2f;
  params.logit_bias = {{3, 1.0f}};
  std::vector<i32> seen = {1, 2, 3};
  for (u32 device = 0; device < device_count(); ++device) {
    std::unique_ptr<Executor> executor = make(program, weights, 2, device);
    PackedStep batch;
    batch.add(tokens_of(30, 1, 96), 0, std::vector<i32>{1, 2, 3}, 4);
    batch.add(tokens_of(9, 2, 96), 0, std::vector<i32>{4}, 3);
    batch.tree.assign(39, -1);
    batch.tree[29] = 27;
    for (u64 r = 0; r < 7; ++r) batch.samples.push_back({{}, params, seen, seen, {}, r});
    StepBatch view = batch.view();
    long before = allocation_count.load();
    Result<std::span<const f32>> ran = executor->run(view);
    long after = allocation_count.load();
    ASSERT_TRUE(ran.ok()) << ran.error().message;
    EXPECT_EQ(after - before, 0) << executor->device_name();
    EXPECT_GT(executor->expert_hits()[0], 0u);
    // The same step again, for which nothing is new.
    std::vector<u8> results = results_of(*executor);
    u64 hits = executor->expert_hits()[0];
    ASSERT_TRUE(executor->run(view).ok());
    EXPECT_EQ(results_of(*executor), results);
    EXPECT_EQ(executor->expert_hits()[0], hits);
  }
}

}  // namespace
}  // namespace tg::backend
