// Many chats at once on a device that takes as long as a real one, in virtual time: when first
// tokens come, how long streams stand still, and what it costs in throughput.
#include <gtest/gtest.h>

#include "engine/harness.h"
#include "env/random.h"

namespace tg::engine {
namespace {

constexpr i64 kMs = 1'000'000;

// Two cores with a model of 1.1 billion parameters in four bits (bench/results/20261130-engine.md):
// 480 prompt tokens a second, and hardly fewer when they are of many streams.
constexpr StepTime kTwoCores = {.ns_per_step = 13.4e6, .ns_per_token = 1.95e6, .ns_per_key = 500};

struct Crowd {
  i64 clients = 32;
  i64 requests = 64;
  i64 prompt_tokens = 137;
  i64 output_tokens = 64;
};

struct Seen {
  i64 wall_ns = 0;
  i64 worst_gap_ns = 0;
  std::vector<i64> ttft_ns;
  i64 median_ttft_ns() {
    std::ranges::sort(ttft_ns);
    return ttft_ns[ttft_ns.size() / 2];
  }
  i64 tokens_per_1000_s(const Crowd& crowd) const {
    return crowd.requests * crowd.output_tokens * 1'000 * 1'000 * kMs / wall_ns;
  }
};

FakeExecutor::Shape device() {
  return {.vocabulary = 64,
          .page_tokens = 16,
          .limits = {.tokens_max = 512,
                     .sequences_max = 64,
                     .rows_max = 64,
                     .context_max = 2'048,
                     .kv_pages = 1'024}};
}

// Every client asks again as soon as it is answered.
Seen serve(const Crowd& crowd, const EngineLimits& limits) {
  Harness h(device(), limits);
  h.executor.time = kTwoCores;
  SeededRandom random(1);
  Seen seen;
  u64 next = 0;
  std::map<u64, i64> asked_ns;
  std::map<u64, i64> heard_ns;
  auto ask = [&] {
    if (static_cast<i64>(next) == crowd.requests) return;
    std::vector<i32> prompt;
    for (i64 i = 0; i < crowd.prompt_tokens; ++i) {
      prompt.push_back(static_cast<i32>(random.below(64)));
    }
    asked_ns[next] = h.clock.ns;
    EXPECT_TRUE(h.submit(greedy(next++, std::move(prompt), crowd.output_tokens)).ok());
  };
  for (i64 i = 0; i < crowd.clients; ++i) ask();
  while (h.engine.has_work()) {
    StepResult result = h.step();
    for (const TokenEvent& event : result.tokens) {
      if (heard_ns.contains(event.request)) {
        seen.worst_gap_ns = std::max(seen.worst_gap_ns, h.clock.ns - heard_ns[event.request]);
      } else {
        seen.ttft_ns.push_back(h.clock.ns - asked_ns[event.request]);
      }
      heard_ns[event.request] = h.clock.ns;
    }
    for (std::size_t i = 0; i < result.finished.size(); ++i) ask();
  }
  seen.wall_ns = h.clock.ns;
  return seen;
}

TEST(EngineCrowd, LongerStepsBringFirstTokensSoonerAndNobodyWaitsLongerThanThey) {
  Crowd crowd;
  Seen seen = serve(crowd, {});
  // llama.cpp's server on the device that kTwoCores describes: a median of 10.5 s.
  EXPECT_LT(seen.median_ttft_ns(), 2'600 * kMs);
  EXPECT_LT(seen.worst_gap_ns, 215 * kMs);
  Seen targeted = serve(crowd, {.step_longest_ns = 0});
  EXPECT_LT(3 * seen.median_ttft_ns(), targeted.median_ttft_ns());
  EXPECT_GT(seen.tokens_per_1000_s(crowd), targeted.tokens_per_1000_s(crowd));
  RecordProperty("ttft_p50_ms", static_cast<int>(seen.median_ttft_ns() / kMs));
  RecordProperty("ttft_p50_ms_at_the_target", static_cast<int>(targeted.median_ttft_ns() / kMs));
  RecordProperty("worst_gap_ms", static_cast<int>(seen.worst_gap_ns / kMs));
  RecordProperty("tokens_per_1000_s", static_cast<int>(seen.tokens_per_1000_s(crowd)));
  RecordProperty("tokens_per_1000_s_at_the_target",
                 static_cast<int>(targeted.tokens_per_1000_s(crowd)));
}

TEST(EngineCrowd, FewStreamsAreNotSlowedForAPrompt) {
  for (i64 streams : {1, 2, 4}) {
    Harness h(device(), {});
    h.executor.time = kTwoCores;
    for (i64 i = 0; i < streams; ++i) {
      ASSERT_TRUE(
          h.submit(greedy(static_cast<u64>(i), prompt_of(20, static_cast<i32>(i)), 200)).ok());
    }
    for (i64 i = 0; i < 30; ++i) h.step();
    ASSERT_TRUE(h.submit(greedy(99, prompt_of(1'200, 9), 2)).ok());
    i64 worst_ns = 0;
    while (h.outcomes[99].tokens.empty()) worst_ns = std::max(worst_ns, h.step().wall_ns);
    EXPECT_LT(worst_ns, 115 * kMs) << streams;
  }
}

TEST(EngineCrowd, APromptThatNobodyWatchesDoesNotMakeStepsLonger) {
  Harness h(device(), {});
  h.executor.time = kTwoCores;
  for (u64 id = 0; id < 20; ++id) {
    ASSERT_TRUE(h.submit(greedy(id, prompt_of(20, static_cast<i32>(id)), 200)).ok());
  }
  for (i64 i = 0; i < 40; ++i) h.step();
  EngineRequest prompt = greedy(99, prompt_of(600, 9), 2);
  prompt.priority = Priority::kBatch;
  ASSERT_TRUE(h.submit(prompt).ok());
  i64 worst_ns = 0;
  while (h.outcomes[99].tokens.empty()) worst_ns = std::max(worst_ns, h.step().wall_ns);
  EXPECT_LT(worst_ns, 115 * kMs);
}

}  // namespace
}  // namespace tg::engine
