// The engine on a real model and the CPU backend: a batch of requests through a pool that is too
// small for them, in small chunks, says what each of them says alone.
#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"
#include "env/random.h"
#include "model/model.h"

namespace tg::engine {
namespace {

constexpr i64 kVocabularyUsed = 256;

// One model file, its executor and its engine.
struct Node {
  Node(const std::string& file, i64 kv_pages, const EngineLimits& limits) {
    Result<std::unique_ptr<model::Model>> opened = model::Model::open(file, {});
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    model = std::move(*opened);
    Result<std::unique_ptr<backend::Executor>> made =
        backend::make_executor("cpu", model->program(), model->weights(),
                               {.tokens_max = 64,
                                .sequences_max = 16,
                                .rows_max = 16,
                                .context_max = 128,
                                .kv_pages = kv_pages,
                                .threads = 1});
    EXPECT_TRUE(made.ok()) << made.error().message;
    executor = std::move(*made);
    engine = std::make_unique<Engine>(*executor, model->program().cost(), limits, clock);
  }

  std::map<u64, std::vector<i32>> finish_all() {
    std::map<u64, std::vector<i32>> outputs;
    i64 wall_ns = 0;
    i64 attributed_ns = 0;
    while (engine->has_work()) {
      StepResult result = engine->step();
      wall_ns += result.wall_ns;
      for (const TokenEvent& event : result.tokens) outputs[event.request].push_back(event.token);
      for (const FinishEvent& event : result.finished) {
        EXPECT_EQ(event.reason, Finish::kLength) << event.error;
        EXPECT_TRUE(event.usage.actual_atto_st > 0);
        attributed_ns += event.usage.attributed_ns;
      }
    }
    EXPECT_EQ(attributed_ns, wall_ns);
    return outputs;
  }

  std::unique_ptr<model::Model> model;
  std::unique_ptr<backend::Executor> executor;
  SystemClock clock;
  std::unique_ptr<Engine> engine;
};

// Half of the prompts share a start longer than a block; half are drawn, half greedy.
EngineRequest request_of(u64 id) {
  SeededRandom random(id + 1);
  EngineRequest request{.id = id, .max_tokens = 24};
  for (i32 i = 0; id % 2 == 0 && i < 20; ++i)
    request.prompt.push_back(static_cast<i32>(i * 5 % kVocabularyUsed));
  for (u64 n = 1 + random.below(20); n > 0; --n) {
    request.prompt.push_back(static_cast<i32>(random.below(kVocabularyUsed)));
  }
  request.sampling.temperature = id % 4 < 2 ? 0.0f : 0.9f;
  request.sampling.seed = id;
  return request;
}

TEST(EngineModel, BatchedChunkedAndPreemptedEqualsAlone) {
  constexpr u64 kRequests = 10;
  const std::string file = TG_SOURCE_DIR "/models/tokengrid-tiny.gguf";
  // At 16 tokens a block a request needs up to four; ten do not fit.
  Node busy(file, 14, {.running_max = 16, .waiting_max = 64, .step_tokens_max = 24});
  for (u64 id = 0; id < kRequests; ++id) ASSERT_TRUE(busy.engine->submit(request_of(id)).ok());
  std::map<u64, std::vector<i32>> together = busy.finish_all();
  EXPECT_GT(busy.engine->status().preemptions, 0u);
  EXPECT_GT(busy.engine->status().cached_tokens, 0u);
  EXPECT_EQ(busy.engine->status().kv_pages_free, 14);
  Node quiet(file, 14, {.running_max = 1, .waiting_max = 1, .prefix_cache = false});
  for (u64 id = 0; id < kRequests; ++id) {
    ASSERT_TRUE(quiet.engine->submit(request_of(id)).ok());
    EXPECT_EQ(together[id], quiet.finish_all()[id]) << id;
  }
}

}  // namespace
}  // namespace tg::engine
