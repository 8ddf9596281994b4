// Attention over more keys than one segment: the same bits for any number of threads, which then
// share the keys of a query, and for any way a prompt is cut into steps.
#include <gtest/gtest.h>

#include "backend/cpu_fixture.h"

namespace tg::backend {
namespace {

constexpr i64 kTokens = 2'600;
constexpr i64 kPages = kTokens / 16 + 1;

isa::VerifiedProgram program_with(const std::string& attention) {
  TinyShape shape{.d = 64,
                  .heads = 9,
                  .groups = 1,
                  .head_dim = 16,
                  .f = 64,
                  .vocabulary = 64,
                  .layers = 1,
                  .codec = "f32",
                  .head_codec = "f32",
                  .attention = attention};
  std::string text = tiny_llama_text(shape);
  std::size_t at = text.find("C<=1024");
  return verified(text.replace(at, 7, "C<=4096"));
}

std::unique_ptr<Executor> executor_of(const isa::VerifiedProgram& program,
                                      const RandomWeights& weights, i32 threads, u32 device) {
  ExecutorLimits limits = kLimits;
  limits.threads = threads;
  limits.context_max = kTokens;
  limits.kv_pages = kPages;
  Result<std::unique_ptr<Executor>> executor = bind_executor(
      {.library = {.table = cpu::cpu_backend()}, .device = device}, program, weights.table, limits);
  if (!executor) {
    ADD_FAILURE() << executor.error().message;
    return nullptr;
  }
  return std::move(executor).value();
}

// Logits of the last tokens of the prompt's steps, the last of which has one token.
std::vector<f32> logits(const isa::VerifiedProgram& program, const RandomWeights& weights,
                        i32 threads, u32 device, i64 step) {
  std::unique_ptr<Executor> executor = executor_of(program, weights, threads, device);
  if (!executor) return {};
  std::vector<i32> ids = tokens_of(kTokens, 3, 64);
  std::vector<i32> pages = pages_from(0, static_cast<i32>(kPages));
  std::vector<f32> out;
  for (i64 done = 0; done < kTokens;) {
    i64 left = kTokens - 1 - done;
    i64 count = left == 0 ? 1 : std::min(step, left);
    PackedStep batch;
    batch.add(
        std::span(ids).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count)),
        static_cast<i32>(done), pages, 1);
    done += count;
    out = run(*executor, batch);
  }
  return out;
}

TEST(LongContext, D2_whatever_the_threads_and_the_steps) {
  for (const char* attention : {"", "window=1500"}) {
    isa::VerifiedProgram program = program_with(attention);
    RandomWeights weights(program.program(), 5);
    for (u32 device = 0; device < device_count(); device += 2) {
      std::vector<f32> alone = logits(program, weights, 1, device, 512);
      ASSERT_EQ(alone.size(), 64u);
      EXPECT_EQ(logits(program, weights, 2, device, 300), alone) << attention;
      EXPECT_EQ(logits(program, weights, 3, device, 512), alone) << attention;
    }
  }
}

// Steps of one shape on both sides of a segment's end: how a query's keys are shared changes.
TEST(LongContext, decoding_crosses_a_segment_with_the_same_bits) {
  constexpr i64 kFirst = 2'040;
  constexpr i64 kEnd = 2'055;
  isa::VerifiedProgram program = program_with("");
  RandomWeights weights(program.program(), 5);
  std::vector<i32> ids = tokens_of(kEnd, 3, 64);
  std::vector<i32> pages = pages_from(0, static_cast<i32>(kPages));
  std::vector<std::vector<f32>> all;
  for (i32 threads : {1, 2}) {
    std::unique_ptr<Executor> executor = executor_of(program, weights, threads, 0);
    ASSERT_TRUE(executor);
    std::vector<f32>& out = all.emplace_back();
    for (i64 done = 0; done < kEnd;) {
      i64 count = done < kFirst ? 510 : 1;
      PackedStep batch;
      batch.add(
          std::span(ids).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count)),
          static_cast<i32>(done), pages, 1);
      std::vector<f32> row = run(*executor, batch);
      out.insert(out.end(), row.begin(), row.end());
      done += count;
    }
  }
  ASSERT_EQ(all[0].size(), 64u * 19);
  EXPECT_EQ(all[0], all[1]);
}

}  // namespace
}  // namespace tg::backend
