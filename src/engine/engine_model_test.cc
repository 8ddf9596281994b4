// The engine on a real model and the CPU backend: whatever the threads, the pool, the chunks,
// the arrivals and the drafts, requests say what each of them says alone. TG_MODEL_SCHEDULES=200 is
// the full length.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "engine/engine.h"
#include "env/random.h"
#include "env/seed_testing.h"
#include "model/model.h"

namespace tg::engine {
namespace {

constexpr i64 kVocabularyUsed = 256;
constexpr u64 kRequests = 16;
constexpr u64 kSchedulesInCi = 12;

u64 schedules_wanted() {
  const char* text = std::getenv("TG_MODEL_SCHEDULES");
  return text == nullptr ? kSchedulesInCi : std::strtoull(text, nullptr, 10);
}

// Half of the prompts share a start longer than a block; half are drawn, half greedy; one in four
// repeats itself, so that drafts are made.
EngineRequest request_of(u64 id) {
  SeededRandom random(id + 1);
  EngineRequest request{.id = id, .max_tokens = 24};
  for (i32 i = 0; id % 2 == 0 && i < 20; ++i)
    request.prompt.push_back(static_cast<i32>(i * 5 % kVocabularyUsed));
  for (u64 n = 1 + random.below(20); n > 0; --n) {
    request.prompt.push_back(static_cast<i32>(random.below(kVocabularyUsed)));
  }
  if (id % 4 == 3) {
    std::vector<i32> once = request.prompt;
    request.prompt.insert(request.prompt.end(), once.begin(), once.end());
  }
  request.sampling.temperature = id % 4 < 2 ? 0.0f : 0.9f;
  request.sampling.seed = id;
  request.priority = static_cast<Priority>(id % 3);
  return request;
}

using Texts = std::map<u64, std::vector<i32>>;

class EngineModel : public testing::Test {
 protected:
  void SetUp() override {
    model_ = model::Model::open(TG_SOURCE_DIR "/models/tokengrid-tiny.gguf", {}).value();
  }

  // At 16 tokens a block a request needs up to four.
  void make_executor(i64 kv_pages, i32 threads, i64 swap_pages = 0) {
    executor_.reset();
    executor_ = backend::make_executor("cpu", model_->program(), model_->weights(),
                                       {.tokens_max = 64,
                                        .sequences_max = 16,
                                        .rows_max = 48,
                                        .context_max = 128,
                                        .kv_pages = kv_pages,
                                        .swap_pages = swap_pages,
                                        .threads = threads})
                    .value();
  }

  // Submits requests first..last - 1, `gap` steps apart.
  Texts run(const EngineLimits& limits, u64 first, u64 last, i64 gap) {
    Engine engine(*executor_, model_->program().cost(), limits, clock_);
    Texts texts;
    i64 wall_ns = 0;
    i64 attributed_ns = 0;
    u64 next = first;
    for (i64 steps = 0; next < last || engine.has_work(); ++steps) {
      for (bool more = gap == 0 || steps % gap == 0; more && next < last; more = gap == 0) {
        EXPECT_TRUE(engine.submit(request_of(next++)).ok());
      }
      StepResult result = engine.step();
      wall_ns += result.wall_ns;
      for (const TokenEvent& event : result.tokens) texts[event.request].push_back(event.token);
      for (const FinishEvent& event : result.finished) {
        EXPECT_EQ(event.reason, Finish::kLength) << event.error;
        EXPECT_TRUE(event.usage.actual_atto_st > 0);
        attributed_ns += event.usage.attributed_ns;
      }
    }
    EXPECT_EQ(attributed_ns, wall_ns);
    status_ = engine.status();
    EXPECT_EQ(status_.kv_pages_free, status_.kv_pages_total);
    EXPECT_EQ(status_.swap_pages_free, status_.swap_pages_total);
    return texts;
  }

  // What each request says with the engine to itself.
  Texts alone() {
    make_executor(14, 1);
    Texts truth;
    for (u64 id = 0; id < kRequests; ++id) {
      Texts one = run({.running_max = 1, .waiting_max = 1, .prefix_cache = false}, id, id + 1, 0);
      truth[id] = one[id];
    }
    return truth;
  }

  std::unique_ptr<model::Model> model_;
  std::unique_ptr<backend::Executor> executor_;
  SystemClock clock_;
  EngineStatus status_;
};

TEST_F(EngineModel, EveryScheduleSaysWhatEachRequestSaysAlone) {
  Texts truth = alone();
  EngineStatus sum;
  for (u64 seed = first_seed(); seed < first_seed() + schedules_wanted(); ++seed) {
    SeededRandom random(seed);
    i64 kv_pages = static_cast<i64>(6 + random.below(30));
    make_executor(kv_pages, static_cast<i32>(1 + random.below(3)), static_cast<i64>(seed % 2 * 20));
    EngineLimits limits{.running_max = static_cast<i64>(1 + random.below(16)),
                        .waiting_max = 64,
                        .step_tokens_max = static_cast<i64>(16 + random.below(49)),
                        .step_target_ns = static_cast<i64>(random.below(3) * 2'000'000),
                        .patience_ns = {1'000'000, 5'000'000, 50'000'000},
                        .output_guess = static_cast<i64>(random.below(2) * 24),
                        .draft_tokens_max = static_cast<i64>(random.below(6)),
                        .prefix_cache = random.below(4) != 0};
    Texts together = run(limits, 0, kRequests, static_cast<i64>(random.below(4)));
    for (u64 id = 0; id < kRequests; ++id) {
      ASSERT_EQ(together[id], truth[id]) << "seed " << seed << " request " << id;
    }
    sum.preemptions += status_.preemptions;
    sum.swapped_tokens += status_.swapped_tokens;
    sum.cached_tokens += status_.cached_tokens;
    sum.drafts.accepted += status_.drafts.accepted;
    sum.drafts.drafted += status_.drafts.drafted;
  }
  EXPECT_GT(sum.preemptions, 0u);
  EXPECT_GT(sum.swapped_tokens, 0u);
  EXPECT_GT(sum.cached_tokens, 0u);
  EXPECT_GT(sum.drafts.accepted, 0u);
  EXPECT_GT(sum.drafts.drafted, sum.drafts.accepted);
}

}  // namespace
}  // namespace tg::engine
