// Random programs of every profile, stepped at random, on the CPU and in the reference interpreter.
// Where rounding decides a route or a cache's code the two interpreters part as well: a program is
// held to how far they are apart.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu_fixture.h"
#include "isa/reference/random_program.h"
#include "isa/reference/random_steps.h"

namespace tg::backend {
namespace {

constexpr i32 kPage = 16;

// The batch with slots for pages of kPage tokens.
void move_slots(isa::TestBatch& batch) {
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    for (i32 t = batch.cu[s]; t < batch.cu[s + 1]; ++t) {
      i32 key = batch.past[s] + t - batch.cu[s];
      i32 page = batch.pages[static_cast<std::size_t>(batch.page_begin[s] + key / kPage)];
      batch.slots[static_cast<std::size_t>(t)] = page * kPage + key % kPage;
    }
  }
}

StepBatch step_of(const isa::TestBatch& b) {
  return {.ids = b.ids,
          .positions = b.positions,
          .cu = b.cu,
          .past = b.past,
          .page_begin = b.page_begin,
          .pages = b.pages,
          .slots = b.slots,
          .rows = b.rows,
          .tree = b.tree,
          .samples = b.params};
}

std::string paged(std::string text) {
  for (std::size_t at = 0; (at = text.find("page=4\n", at)) != std::string::npos;) {
    text.replace(at, 6, "page=16");
  }
  return text;
}

// Largest differences of a step's float results, relative to the largest number in each.
struct Distance {
  f64 naive = 0;
  f64 ours = 0;
};

Distance distance(const Executor& executor, const std::vector<isa::Tensor>& golden,
                  const std::vector<isa::Tensor>& naive) {
  Distance out;
  for (std::size_t r = 0; r < golden.size(); ++r) {
    ResultView mine = executor.result(r);
    if (mine.dtype != isa::DType::kF32) continue;
    f64 scale = 1e-9;
    for (f64 v : golden[r].data) scale = std::max(scale, std::fabs(v));
    for (std::size_t i = 0; i < golden[r].data.size(); ++i) {
      f64 exact = golden[r].data[i];
      out.naive = std::max(out.naive, std::fabs(naive[r].data[i] - exact) / scale);
      out.ours = std::max(out.ours, std::fabs(f64{mine.floats()[i]} - exact) / scale);
    }
  }
  return out;
}

// Whether a program rounds to few bits on its way, so that a last bit may become a code.
bool has_codes(const std::string& text) {
  bool has_cache = text.find("fmt=") != std::string::npos;
  return text.find("xq=") != std::string::npos || has_cache;
}

// Runs a program for some steps. False once the interpreters part ways.
bool run_program(const isa::TestModel& model, Executor& executor, u32 seed, f64 slack) {
  std::mt19937 random(seed);
  isa::RandomSteps steps(*model.program, random);
  isa::Interpreter golden = model.interpreter(isa::Precision::kGolden);
  isa::Interpreter same = model.interpreter(isa::Precision::kSameType);
  for (int i = 0; i < 4; ++i) {
    isa::TestBatch batch = steps.next();
    move_slots(batch);
    std::vector<isa::Tensor> expected = isa::run_ok(golden, batch);
    std::vector<isa::Tensor> naive = isa::run_ok(same, batch);
    Result<std::span<const f32>> ran = executor.run(step_of(batch));
    EXPECT_TRUE(ran.ok()) << ran.error().message;
    if (!ran) return false;
    Distance d = distance(executor, expected, naive);
    if (d.naive > 1e-3 || d.ours > 1e-3) {
      EXPECT_LT(d.ours, 0.5) << "step " << i;
      return false;
    }
    EXPECT_LT(d.ours, 2 * d.naive + slack) << "step " << i;
    std::span<const u64> hits = executor.expert_hits();
    EXPECT_EQ(std::vector<u64>(hits.begin(), hits.end()), golden.expert_hits());
    for (std::size_t r = 0; r < expected.size(); ++r) {
      if (executor.result(r).dtype != isa::DType::kI32) continue;
      std::span<const i32> ints = executor.result(r).ints();
      EXPECT_EQ(std::vector<f64>(ints.begin(), ints.end()), expected[r].data);
    }
  }
  return true;
}

TEST(RandomPrograms, agree_with_the_reference_or_are_refused) {
  std::mt19937 random(2026);
  i64 ran = 0, whole = 0;
  for (u32 seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("program " + std::to_string(seed));
    std::string text = paged(isa::random_program(random));
    isa::TestModel model(text, seed);
    ExecutorLimits limits{.tokens_max = 64,
                          .sequences_max = 8,
                          .rows_max = 64,
                          .context_max = 256,
                          .kv_pages = 64,
                          .threads = static_cast<i32>(1 + seed % 2)};
    Target target{.library = {.table = cpu::cpu_backend()}, .device = seed % device_count()};
    Result<std::unique_ptr<Executor>> made =
        bind_executor(target, *model.program, model.weights, limits);
    if (!made) {
      EXPECT_EQ(made.error().code, Code::kUnsupported) << made.error().message;
      continue;
    }
    ++ran;
    whole += run_program(model, **made, seed, has_codes(text) ? 1e-3 : 1e-6);
  }
  EXPECT_GE(ran, 30);
  EXPECT_GE(whole, ran / 2);
}

}  // namespace
}  // namespace tg::backend
