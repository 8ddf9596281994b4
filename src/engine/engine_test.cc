// The loop case by case, on the fake device: lengths at the edges, errors, cancellation in every
// phase, usage to the integer.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/harness.h"
#include "unit/nominal.h"

namespace tg::engine {
namespace {

EngineLimits limits(i64 step_tokens_max = 64, bool prefix_cache = true) {
  return {.running_max = 16,
          .waiting_max = 64,
          .step_tokens_max = step_tokens_max,
          .output_guess = 0,
          .prefix_cache = prefix_cache};
}

Outcome alone(EngineRequest request) {
  Harness h(shape(64), limits(64, false));
  u64 id = request.id;
  EXPECT_TRUE(h.submit(std::move(request)).ok());
  EXPECT_TRUE(h.finish_all());
  return h.outcomes[id];
}

TEST(Engine, EveryPromptLengthAroundABlockGivesTheSameTokensWhateverTheChunk) {
  for (i64 length = 1; length <= 17; ++length) {
    Outcome whole = alone(greedy(1, prompt_of(length), 9));
    EXPECT_EQ(whole.tokens.size(), 9u);
    for (i64 chunk = 1; chunk <= 9; ++chunk) {
      Harness h(shape(64), limits(chunk));
      ASSERT_TRUE(h.submit(greedy(1, prompt_of(length), 9)).ok());
      ASSERT_TRUE(h.finish_all());
      EXPECT_EQ(h.outcomes[1].tokens, whole.tokens) << "prompt " << length << " chunk " << chunk;
      EXPECT_EQ(h.outcomes[1].finish.usage.prompt_tokens, length);
      EXPECT_EQ(h.executor.tokens, length + 8);  // The last token is never fed back.
    }
  }
}

TEST(Engine, OneOutputTokenNeedsNoDecode) {
  Harness h(shape(64), limits());
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(8), 1)).ok());
  StepResult result = h.step();
  ASSERT_EQ(result.finished.size(), 1u);
  EXPECT_EQ(result.finished[0].reason, Finish::kLength);
  EXPECT_EQ(result.finished[0].usage.output_tokens, 1);
  EXPECT_EQ(result.finished[0].usage.steps, 1);
  EXPECT_EQ(h.executor.tokens, 8);
  EXPECT_FALSE(h.engine.has_work());
}

TEST(Engine, StopTokenIsEmittedAndCounted) {
  Outcome free = alone(greedy(1, prompt_of(5), 6));
  EngineRequest request = greedy(1, prompt_of(5), 6);
  request.stop_tokens = {63, free.tokens[2]};
  Outcome stopped = alone(request);
  std::size_t length = 3;
  for (std::size_t i = 0; i < 3; ++i) {
    if (free.tokens[i] == free.tokens[2] || free.tokens[i] == 63) {
      length = i + 1;
      break;
    }
  }
  EXPECT_EQ(stopped.finish.reason, Finish::kStop);
  EXPECT_EQ(stopped.tokens, std::vector<i32>(free.tokens.begin(), free.tokens.begin() + length));
  EXPECT_EQ(stopped.finish.usage.output_tokens, static_cast<i64>(length));
}

TEST(Engine, RequestThatFillsContextAndPoolExactlyRuns) {
  Harness h(shape(16, 64, 64), limits(7));
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(40), 24)).ok());
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kLength);
  EXPECT_EQ(h.outcomes[1].tokens.size(), 24u);
}

struct Refusal {
  const char* what;
  void (*spoil)(EngineRequest&);
  const char* message;
};

TEST(Engine, SubmitRefusesWhatCouldNeverRun) {
  const Refusal table[] = {
      {"no prompt", [](EngineRequest& r) { r.prompt.clear(); }, "engine: prompt is empty"},
      {"no output", [](EngineRequest& r) { r.max_tokens = 0; },
       "engine: max_tokens 0 is not positive"},
      {"context", [](EngineRequest& r) { r.max_tokens = 61; },
       "engine: prompt of 4 and max_tokens 61 exceed the context of 64"},
      {"overflow", [](EngineRequest& r) { r.max_tokens = std::numeric_limits<i64>::max(); },
       "engine: prompt of 4 and max_tokens 9223372036854775807 exceed the context of 64"},
      {"pool", [](EngineRequest& r) { r.max_tokens = 38; },
       "engine: prompt of 4 and max_tokens 38 exceed the KV pool of 40 tokens"},
      {"funds", [](EngineRequest& r) { r.funded_tokens = 5; },
       "engine: funded_tokens 5 is not in [0, 4]"},
      {"deadline", [](EngineRequest& r) { r.deadline_ns = -1; },
       "engine: deadline_ns -1 is negative"},
      {"id", [](EngineRequest& r) { r.prompt[1] = 64; },
       "engine: prompt token 64 is outside the vocabulary of 64"},
      {"negative id", [](EngineRequest& r) { r.prompt[1] = -1; },
       "engine: prompt token -1 is outside the vocabulary of 64"},
      {"stop", [](EngineRequest& r) { r.stop_tokens = {99}; },
       "engine: stop token 99 is outside the vocabulary of 64"},
      {"stops", [](EngineRequest& r) { r.stop_tokens.assign(257, 1); },
       "engine: 257 stop_tokens, at most 256"},
      {"temperature", [](EngineRequest& r) { r.sampling.temperature = -1; },
       "engine: temperature -1 is not in [0, 1000000]"},
      {"nan", [](EngineRequest& r) { r.sampling.top_p = std::numeric_limits<f32>::quiet_NaN(); },
       "engine: top_p nan is not in [0, 1]"},
      {"top_k", [](EngineRequest& r) { r.sampling.top_k = -2; }, "engine: top_k -2 is negative"},
      {"min_p", [](EngineRequest& r) { r.sampling.min_p = 1.5f; },
       "engine: min_p 1.5 is not in [0, 1]"},
      {"penalty", [](EngineRequest& r) { r.sampling.repetition_penalty = 0; },
       "engine: repetition_penalty 0 is not in [0.001, 1000]"},
      {"logprobs", [](EngineRequest& r) { r.sampling.logprobs = 21; },
       "engine: logprobs 21 is not in [-1, 20]"},
      {"bias id",
       [](EngineRequest& r) {
         r.sampling.logit_bias = {{64, 1.0f}};
       },
       "engine: logit_bias token 64 is outside the vocabulary of 64"},
      {"bias",
       [](EngineRequest& r) {
         r.sampling.logit_bias = {{1, -std::numeric_limits<f32>::infinity()}};
       },
       "engine: logit_bias -inf is not in [-1000000, 1000000]"},
  };
  for (const Refusal& row : table) {
    Harness h(shape(10), limits());
    EngineRequest request = greedy(1, prompt_of(4), 4);
    row.spoil(request);
    Status status = h.submit(request);
    ASSERT_FALSE(status.ok()) << row.what;
    EXPECT_EQ(status.error().code, Code::kInvalid) << row.what;
    EXPECT_EQ(status.error().message, row.message);
    EXPECT_FALSE(h.engine.has_work());
  }
}

TEST(Engine, SubmitRefusesAnOpenIdAndAFullQueue) {
  Harness h(shape(64), {.running_max = 1, .waiting_max = 2, .step_tokens_max = 8});
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(4), 4)).ok());
  EXPECT_EQ(h.submit(greedy(1, prompt_of(4), 4)).error().code, Code::kExists);
  ASSERT_TRUE(h.submit(greedy(2, prompt_of(4), 4)).ok());
  EXPECT_EQ(h.submit(greedy(3, prompt_of(4), 4)).error().code, Code::kUnavailable);
  h.step();  // Request 1 runs now, so there is room in the queue.
  EXPECT_TRUE(h.submit(greedy(3, prompt_of(4), 4)).ok());
  ASSERT_TRUE(h.finish_all());
  EXPECT_TRUE(h.submit(greedy(1, prompt_of(4), 4)).ok());
}

// Cancels request 2 after `steps` steps, with request 1 beside it, and expects its blocks back and
// its neighbour untouched.
void cancel_after(i64 steps, i64 running_max, i64 outputs_expected, i64 prompt_expected) {
  SCOPED_TRACE("steps " + std::to_string(steps));
  Outcome neighbour = alone(greedy(1, prompt_of(6), 12));
  Harness h(shape(64), {.running_max = running_max, .waiting_max = 8, .step_tokens_max = 9});
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(6), 12)).ok());
  ASSERT_TRUE(h.submit(greedy(2, prompt_of(20, 1), 20)).ok());
  for (i64 i = 0; i < steps; ++i) h.step();
  h.engine.cancel(2);
  h.engine.cancel(2);
  h.engine.cancel(77);
  StepResult result = h.step();
  ASSERT_FALSE(result.finished.empty());
  EXPECT_EQ(result.finished[0].request, 2u);
  EXPECT_EQ(result.finished[0].reason, Finish::kCancelled);
  EXPECT_EQ(result.finished[0].usage.output_tokens, outputs_expected);
  EXPECT_EQ(result.finished[0].usage.prompt_tokens, prompt_expected);
  EXPECT_EQ(static_cast<i64>(h.outcomes[2].tokens.size()), outputs_expected);
  EXPECT_LE(h.engine.status().kv_pages_total - h.engine.status().kv_pages_free, 5);
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].tokens, neighbour.tokens);
  EXPECT_EQ(h.outcomes[2].finishes, 1);
  EXPECT_EQ(h.engine.status().kv_pages_free, h.engine.status().kv_pages_total);
}

TEST(Engine, CancelBeforeAnyStep) {
  cancel_after(0, 16, 0, 0);
}
TEST(Engine, CancelWhileWaiting) {
  cancel_after(2, 1, 0, 0);
}
TEST(Engine, CancelInTheMiddleOfPrefill) {
  cancel_after(2, 16, 0, 3 + 8);
}
TEST(Engine, CancelAtTheFirstToken) {
  cancel_after(4, 16, 1, 20);
}
TEST(Engine, CancelWhileDecoding) {
  cancel_after(6, 16, 3, 20);
}

TEST(Engine, CancelOfTheOnlyRequestEndsInAStepWithoutABatch) {
  Harness h(shape(64), limits());
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(6), 12)).ok());
  h.step();
  h.engine.cancel(1);
  StepResult result = h.step();
  EXPECT_EQ(result.batch_tokens, 0);
  ASSERT_EQ(result.finished.size(), 1u);
  EXPECT_FALSE(h.engine.has_work());
  EXPECT_EQ(h.engine.step().finished.size(), 0u);
}

TEST(Engine, PrefixHitLeavesTheLastTokenToCompute) {
  // prompt -> tokens found by a second, equal request; blocks hold 4.
  const std::pair<i64, i64> table[] = {{1, 0}, {2, 1}, {3, 2},   {4, 3},  {5, 4},
                                       {8, 7}, {9, 8}, {12, 11}, {13, 12}};
  for (const std::pair<i64, i64>& row : table) {
    Harness h(shape(64), limits());
    ASSERT_TRUE(h.submit(greedy(1, prompt_of(row.first), 3)).ok());
    ASSERT_TRUE(h.finish_all());
    ASSERT_TRUE(h.submit(greedy(2, prompt_of(row.first), 3)).ok());
    ASSERT_TRUE(h.finish_all());
    EXPECT_EQ(h.outcomes[1].finish.usage.cached_tokens, 0);
    EXPECT_EQ(h.outcomes[2].finish.usage.cached_tokens, row.second) << row.first;
    EXPECT_EQ(h.outcomes[2].finish.usage.prompt_tokens, row.first);
    EXPECT_EQ(h.outcomes[1].tokens, h.outcomes[2].tokens);
    EXPECT_EQ(h.executor.tokens, 2 * (row.first + 2) - row.second);
    EXPECT_EQ(h.engine.status().cached_tokens, static_cast<u64>(row.second));
    EXPECT_EQ(h.engine.status().prompt_tokens, static_cast<u64>(2 * row.first));
  }
}

TEST(Engine, APromptThatLeavesAnotherInsideABlockComputesOnlyItsOwnEnd) {
  std::vector<i32> first = prompt_of(19);
  for (i64 common = 1; common <= 18; ++common) {
    std::vector<i32> second = first;
    for (std::size_t i = static_cast<std::size_t>(common); i < second.size(); ++i) second[i] = 1;
    ASSERT_NE(first[static_cast<std::size_t>(common)], 1);
    Outcome truth = alone(greedy(2, second, 3));
    for (bool is_ended : {true, false}) {
      Harness h(shape(64), limits());
      ASSERT_TRUE(h.submit(greedy(1, first, is_ended ? 3 : 30)).ok());
      is_ended ? (void)h.finish_all() : (void)h.step();
      ASSERT_TRUE(h.submit(greedy(2, second, 3)).ok());
      ASSERT_TRUE(h.finish_all());
      EXPECT_EQ(h.outcomes[2].finish.usage.cached_tokens, common);
      EXPECT_EQ(h.outcomes[2].tokens, truth.tokens) << common;
    }
  }
}

TEST(Engine, APageThatCannotBeCopiedIsATrap) {
  Harness h(shape(64), limits());
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(6), 3)).ok());
  ASSERT_TRUE(h.finish_all());
  h.executor.fails_to_copy = true;
  ASSERT_TRUE(h.submit(greedy(2, prompt_of(6), 3)).ok());
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[2].finish.reason, Finish::kError);
  EXPECT_EQ(h.outcomes[2].finish.error, "fake: no copies");
  EXPECT_EQ(h.engine.status().kv_pages_free, 64);
}

TEST(Engine, ConversationContinuesFromItsOwnOutput) {
  Harness h(shape(64), limits());
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(6), 7)).ok());
  ASSERT_TRUE(h.finish_all());
  std::vector<i32> next = prompt_of(6);
  next.insert(next.end(), h.outcomes[1].tokens.begin(), h.outcomes[1].tokens.end());
  next.push_back(9);
  ASSERT_TRUE(h.submit(greedy(2, next, 2)).ok());
  ASSERT_TRUE(h.finish_all());
  // 6 + 7 tokens, of which the last was never computed: 12 keys, 3 blocks.
  EXPECT_EQ(h.outcomes[2].finish.usage.cached_tokens, 12);
  EXPECT_EQ(h.outcomes[2].tokens, alone(greedy(2, next, 2)).tokens);
}

TEST(Engine, SaltsAndTheSwitchKeepPrefixesApart) {
  for (bool salted : {true, false}) {
    Harness h(shape(64), limits(64, salted));
    EngineRequest first = greedy(1, prompt_of(20), 3);
    EngineRequest second = greedy(2, prompt_of(20), 3);
    second.cache_salt = salted ? 5 : 0;
    ASSERT_TRUE(h.submit(first).ok());
    ASSERT_TRUE(h.finish_all());
    ASSERT_TRUE(h.submit(second).ok());
    ASSERT_TRUE(h.finish_all());
    EXPECT_EQ(h.outcomes[2].finish.usage.cached_tokens, 0);
    EXPECT_EQ(h.outcomes[2].tokens, h.outcomes[1].tokens);
  }
}

TEST(Engine, EqualPromptsSubmittedTogetherArePrefilledOnce) {
  Harness h(shape(64), limits(16));
  for (u64 id = 1; id <= 4; ++id) {
    EngineRequest request = greedy(id, prompt_of(30), 5);
    request.sampling.temperature = 1.0f;
    request.sampling.seed = id;
    ASSERT_TRUE(h.submit(request).ok());
  }
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.engine.status().cached_tokens, 3u * 29u);
  EXPECT_EQ(h.executor.tokens, 30 + 3 * 1 + 4 * 4);
  EXPECT_NE(h.outcomes[1].tokens, h.outcomes[2].tokens);
}

TEST(Engine, PreemptedRequestsResumeInOrderWithTheSameTokens) {
  std::vector<Outcome> expected;
  for (u64 id = 1; id <= 4; ++id) {
    expected.push_back(alone(greedy(id, prompt_of(8, static_cast<i32>(id)), 24)));
  }
  for (bool prefix_cache : {false, true}) {
    Harness h(shape(12), limits(64, prefix_cache));
    for (u64 id = 1; id <= 4; ++id) {
      ASSERT_TRUE(h.submit(greedy(id, prompt_of(8, static_cast<i32>(id)), 24)).ok());
    }
    std::vector<u64> order;
    i64 lost = 0;
    while (h.engine.has_work()) {
      StepResult result = h.step();
      for (const FinishEvent& event : result.finished) order.push_back(event.request);
      for (const PreemptEvent& event : result.preempted) lost += event.tokens_lost;
    }
    EXPECT_EQ(order, (std::vector<u64>{1, 2, 3, 4}));
    EXPECT_GT(h.engine.status().preemptions, 0u);
    EXPECT_GT(lost, 0);
    EXPECT_LE(h.engine.status().recomputed_tokens, static_cast<u64>(lost));
    if (!prefix_cache) {
      EXPECT_EQ(h.engine.status().recomputed_tokens, static_cast<u64>(lost));
    }
    for (u64 id = 1; id <= 4; ++id) {
      EXPECT_EQ(h.outcomes[id].tokens, expected[id - 1].tokens) << id;
      EXPECT_EQ(h.outcomes[id].finish.usage.prompt_tokens, 8);
      EXPECT_EQ(h.outcomes[id].finish.usage.cached_tokens, 0);
      EXPECT_EQ(h.outcomes[id].finish.usage.output_tokens, 24);
    }
    EXPECT_EQ(h.engine.status().prompt_tokens, 32u);
  }
}

// Two requests that grow out of a pool of twelve blocks, with so many pages in the host's memory
// and a device on which a token takes so long.
EngineStatus crowded(i64 swap_pages, f64 ns_per_token) {
  FakeExecutor::Shape device = shape(12);
  device.limits.swap_pages = swap_pages;
  Harness h(device, limits(64, false));
  h.executor.time = {.ns_per_step = 1'000, .ns_per_token = ns_per_token};
  for (u64 id = 1; id <= 2; ++id) {
    EXPECT_TRUE(h.submit(greedy(id, prompt_of(8, static_cast<i32>(id)), 24)).ok());
  }
  i64 kept = 0;
  i64 lost = 0;
  while (h.engine.has_work()) {
    for (const PreemptEvent& event : h.step().preempted) {
      kept += event.tokens_kept;
      lost += event.tokens_lost;
    }
  }
  for (u64 id = 1; id <= 2; ++id) {
    EXPECT_EQ(h.outcomes[id].tokens,
              alone(greedy(id, prompt_of(8, static_cast<i32>(id)), 24)).tokens);
  }
  EngineStatus status = h.engine.status();
  EXPECT_GT(status.preemptions, 0u);
  EXPECT_EQ(status.swapped_tokens, static_cast<u64>(kept));
  EXPECT_EQ(status.recomputed_tokens, static_cast<u64>(lost - kept));
  EXPECT_EQ(status.swap_pages_free, swap_pages);
  EXPECT_EQ(status.prompt_tokens, 16u);
  return status;
}

TEST(Engine, WhoGivesWayIsSwappedIfThatIsCheaperThanComputingAgain) {
  EXPECT_EQ(crowded(0, 100'000).swapped_tokens, 0u);
  EXPECT_EQ(crowded(12, 100'000).recomputed_tokens, 0u);
  EXPECT_EQ(crowded(2, 100'000).swapped_tokens, 0u) << "no room for all of it";
  EXPECT_EQ(crowded(12, 0.01).swapped_tokens, 0u) << "computing is nearly free";
}

TEST(Engine, KeysInTheHostsMemoryGoWithTheirRequest) {
  FakeExecutor::Shape device = shape(12);
  device.limits.swap_pages = 12;
  Harness h(device, limits(64, false));
  h.executor.time = {.ns_per_step = 1'000, .ns_per_token = 100'000};
  for (u64 id = 1; id <= 2; ++id) {
    ASSERT_TRUE(h.submit(greedy(id, prompt_of(8, static_cast<i32>(id)), 24)).ok());
  }
  while (h.engine.status().swapped_tokens == 0) h.step();
  EXPECT_LT(h.engine.status().swap_pages_free, 12);
  h.engine.cancel(2);
  h.step();
  EXPECT_EQ(h.engine.status().swap_pages_free, 12);
  ASSERT_TRUE(h.finish_all());
}

TEST(Engine, DecodesGoOnWhileALongPromptIsPrefilled) {
  Harness h(shape(64), limits(4));
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(3), 30)).ok());
  h.step();
  ASSERT_TRUE(h.submit(greedy(2, prompt_of(33, 2), 2)).ok());
  for (i64 i = 0; i < 11; ++i) {
    StepResult result = h.step();
    EXPECT_EQ(result.batch_tokens, 4);
    ASSERT_GE(result.tokens.size(), 1u);
    EXPECT_EQ(result.tokens[0].request, 1u);
  }
  EXPECT_EQ(h.outcomes[2].tokens.size(), 1u);
}

TEST(Engine, UsageAndTotalsToTheInteger) {
  Harness h(shape(64), limits(8));
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(13), 4)).ok());
  ASSERT_TRUE(h.finish_all());
  unit::Usage usage = h.outcomes[1].finish.usage;
  EXPECT_EQ(usage.prompt_tokens, 13);
  EXPECT_EQ(usage.cached_tokens, 0);
  EXPECT_EQ(usage.output_tokens, 4);
  EXPECT_EQ(usage.steps, 2 + 3);
  // The clock ticks 1,237 ns at each reading: submit, then three per step, then one to retire.
  EXPECT_EQ(usage.queue_ns, 2 * 1'237);
  EXPECT_EQ(usage.first_token_ns, 6 * 1'237);
  EXPECT_EQ(usage.total_ns, 16 * 1'237);
  EXPECT_EQ(usage.attributed_ns, 5 * 1'237);
  // Alone, its actual work is that of its own passes.
  u128 atto = 0;
  i64 computed = 0;
  for (i64 fresh : {8, 5, 1, 1, 1}) {
    unit::SequenceStep step{.cached = computed, .fresh = fresh, .rows = computed > 0 ? 1 : 0};
    u64 hits = (unit::expected_experts_q20(8, 2, fresh) * 3 + (1u << 19)) >> 20;
    Result<unit::Counters> counters = unit::evaluate(h.matrix, {&step, 1}, {&hits, 1});
    ASSERT_TRUE(counters.ok());
    atto += *unit::atto_st(*counters);
    computed += fresh;
  }
  EXPECT_TRUE(usage.actual_atto_st == atto);
  EngineStatus status = h.engine.status();
  EXPECT_EQ(status.steps, 5u);
  EXPECT_EQ(status.output_tokens, 4u);
  EXPECT_EQ(status.prompt_tokens, 13u);
}

TEST(Engine, SharesOfABatchSumToTheSteps) {
  Harness h(shape(20), limits(9));
  for (u64 id = 1; id <= 8; ++id) {
    ASSERT_TRUE(
        h.submit(greedy(id, prompt_of(3 + static_cast<i64>(id), static_cast<i32>(id)), 9)).ok());
  }
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.attributed_ns(), h.wall_ns);
}

TEST(Engine, TrapEndsTheBatchAndTheEngineGoesOn) {
  Harness h(shape(64), {.running_max = 2, .waiting_max = 8, .step_tokens_max = 64});
  h.executor.fail_at_step = 3;
  for (u64 id = 1; id <= 3; ++id) {
    ASSERT_TRUE(h.submit(greedy(id, prompt_of(6, static_cast<i32>(id)), 12)).ok());
  }
  ASSERT_TRUE(h.finish_all());
  for (u64 id : {1, 2}) {
    EXPECT_EQ(h.outcomes[id].finish.reason, Finish::kError);
    EXPECT_EQ(h.outcomes[id].finish.error, "fake: injected trap");
    EXPECT_EQ(h.outcomes[id].finish.usage.output_tokens, 2);
  }
  EXPECT_EQ(h.outcomes[3].finish.reason, Finish::kLength);
  EXPECT_EQ(h.outcomes[3].tokens, alone(greedy(3, prompt_of(6, 3), 12)).tokens);
  EXPECT_EQ(h.engine.status().kv_pages_free, 64);
}

TEST(Engine, LogitsThatAreNotNumbersEndOnlyTheirRequest) {
  Harness h(shape(64), limits());
  h.executor.nan_at_step = 2;  // In the first row, which is request 1's.
  for (u64 id : {1, 2}) {
    ASSERT_TRUE(h.submit(greedy(id, prompt_of(6, static_cast<i32>(id)), 5)).ok());
  }
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kError);
  EXPECT_EQ(h.outcomes[1].tokens.size(), 1u);
  EXPECT_EQ(h.outcomes[2].finish.reason, Finish::kLength);
  EXPECT_EQ(h.outcomes[2].tokens, alone(greedy(2, prompt_of(6, 2), 5)).tokens);
}

TEST(Engine, CostThatOverflowsIsAnErrorOfTheRequestNotACrash) {
  Harness h(shape(64), limits());
  h.matrix.per_token[unit::kMmF16] = ~u64{0};
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(6), 5)).ok());
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kError);
  EXPECT_EQ(h.outcomes[1].finish.error, "cost: a counter of the step exceeds 64 bits");
}

TEST(Engine, LogprobsComeFromTheRawLogits) {
  EngineRequest request = greedy(1, prompt_of(5), 3);
  request.sampling.logprobs = 4;
  request.sampling.logit_bias = {{7, 100.0f}};
  Harness h(shape(64), limits());
  ASSERT_TRUE(h.submit(request).ok());
  StepResult result = h.step();
  ASSERT_EQ(result.tokens.size(), 1u);
  const TokenEvent& event = result.tokens[0];
  EXPECT_EQ(event.token, 7);
  ASSERT_EQ(event.top_logprobs.size(), 4u);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_LE(event.top_logprobs[i].second, event.top_logprobs[i - 1].second);
  }
  EXPECT_LE(event.logprob, event.top_logprobs[0].second);
  EXPECT_LT(event.logprob, 0.0f);
}

TEST(Engine, FundsEndARequestUnlessTheyAreRaisedInTime) {
  Outcome whole = alone(greedy(1, prompt_of(6), 12));
  for (i64 raise_after : {-1, 0, 3, 4}) {
    Harness h(shape(64), limits());
    EngineRequest request = greedy(1, prompt_of(6), 12);
    request.funded_tokens = 5;
    ASSERT_TRUE(h.submit(request).ok());
    for (i64 step = 0; h.engine.has_work(); ++step) {
      if (step == raise_after) {
        EXPECT_TRUE(h.engine.extend(1, 9).ok());
        EXPECT_TRUE(h.engine.extend(1, 7).ok());  // Lower than before: no effect.
        EXPECT_EQ(h.engine.extend(1, 13).error().message,
                  "engine: funded_tokens 13 exceeds max_tokens 12");
      }
      h.step();
    }
    std::size_t expected = raise_after < 0 ? 5 : 9;
    EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kFunds);
    EXPECT_EQ(
        h.outcomes[1].tokens,
        std::vector<i32>(whole.tokens.begin(), whole.tokens.begin() + static_cast<i64>(expected)));
    EXPECT_EQ(h.engine.extend(1, 12).error().code, Code::kNotFound);
  }
}

TEST(Engine, FundsUpToTheLimitEndWithLength) {
  Harness h(shape(64), limits());
  EngineRequest request = greedy(1, prompt_of(6), 6);
  request.funded_tokens = 2;
  ASSERT_TRUE(h.submit(request).ok());
  ASSERT_TRUE(h.engine.extend(1, 6).ok());
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kLength);
  EXPECT_EQ(h.outcomes[1].tokens.size(), 6u);
}

TEST(Engine, AClassHasItsOwnQueue) {
  Harness h(shape(64), {.running_max = 1, .waiting_max = 1, .step_tokens_max = 8});
  EngineRequest flood = greedy(1, prompt_of(4), 4);
  flood.priority = Priority::kBatch;
  ASSERT_TRUE(h.submit(flood).ok());
  flood.id = 2;
  EXPECT_EQ(h.submit(flood).error().code, Code::kUnavailable);
  EXPECT_TRUE(h.submit(greedy(2, prompt_of(4), 4)).ok());
  EXPECT_EQ(h.engine.status().waiting_by_class, (std::array<i64, 3>{0, 1, 1}));
}

TEST(Engine, APreemptionSaysWhyAndForWhom) {
  Harness h(shape(64), {.running_max = 1, .waiting_max = 8, .step_tokens_max = 64});
  EngineRequest batch = greedy(1, prompt_of(6), 12);
  batch.priority = Priority::kBatch;
  ASSERT_TRUE(h.submit(batch).ok());
  h.step();
  h.step();
  EngineRequest urgent = greedy(2, prompt_of(6, 1), 3);
  urgent.priority = Priority::kInteractive;
  ASSERT_TRUE(h.submit(urgent).ok());
  StepResult result = h.step();
  ASSERT_EQ(result.preempted.size(), 1u);
  const PreemptEvent& event = result.preempted[0];
  EXPECT_EQ(event.request, 1u);
  EXPECT_EQ(event.priority, Priority::kBatch);
  EXPECT_EQ(event.reason, PreemptReason::kPriority);
  EXPECT_EQ(event.beneficiary, 2u);
  EXPECT_EQ(event.tokens_lost, 7);
  EXPECT_EQ(event.preemptions, 1);
  ASSERT_EQ(result.tokens.size(), 1u);
  EXPECT_EQ(result.tokens[0].request, 2u);
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].tokens, alone(greedy(1, prompt_of(6), 12)).tokens);
}

TEST(Engine, AMaskDecidesWhatMayBeSaid) {
  for (f32 temperature : {0.0f, 1.5f}) {
    Harness h(shape(64), limits());
    EngineRequest request = greedy(1, prompt_of(6), 9);
    request.sampling.temperature = temperature;
    ASSERT_TRUE(h.submit(request, std::make_unique<RotatingMask>()).ok());
    ASSERT_TRUE(h.finish_all());
    const std::vector<i32>& tokens = h.outcomes[1].tokens;
    ASSERT_EQ(tokens.size(), 9u);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_NE((static_cast<std::size_t>(tokens[i]) + i) % 3, 0u) << i;
    }
  }
}

// One word, then nothing.
class OneToken final : public TokenMask {
 public:
  explicit OneToken(bool completes) : completes_(completes) {}
  void allow(std::span<u64> words) override { words[0] |= is_said_ ? 0 : u64{1} << 11; }
  void accept(i32 token) override {
    EXPECT_EQ(token, 11);
    is_said_ = true;
  }
  bool is_complete() const override { return is_said_ && completes_; }

 private:
  bool completes_;
  bool is_said_ = false;
};

TEST(Engine, AMaskThatIsDoneEndsTheRequest) {
  struct Case {
    bool completes;
    std::vector<i32> stops;
    std::vector<i32> tokens;
    Finish reason;
  };
  const Case table[] = {{true, {7}, {11, 7}, Finish::kStop},
                        {true, {}, {11}, Finish::kStop},
                        {false, {7}, {11}, Finish::kError}};
  for (const Case& row : table) {
    Harness h(shape(64), limits());
    EngineRequest request = greedy(1, prompt_of(6), 9);
    request.stop_tokens = row.stops;
    ASSERT_TRUE(h.submit(request, std::make_unique<OneToken>(row.completes)).ok());
    ASSERT_TRUE(h.finish_all());
    EXPECT_EQ(h.outcomes[1].tokens, row.tokens);
    EXPECT_EQ(h.outcomes[1].finish.reason, row.reason) << h.outcomes[1].finish.error;
  }
}

// A long prompt beside a stream: the stream's gaps stay near the target once the engine has seen
// how long steps take.
TEST(Engine, ALongPromptDoesNotStallAStream) {
  constexpr i64 kTargetNs = 20'000'000;
  for (bool is_aimed : {false, true}) {
    FakeExecutor::Shape device = shape(512, 512, 2'048);
    EngineLimits limits{.step_tokens_max = 512, .step_target_ns = is_aimed ? kTargetNs : 0};
    Harness h(device, limits);
    h.executor.time = {.ns_per_step = 5e6, .ns_per_token = 4e5, .ns_per_pair = 50};
    ASSERT_TRUE(h.submit(greedy(1, prompt_of(20), 200)).ok());
    for (i64 i = 0; i < 20; ++i) h.step();
    ASSERT_TRUE(h.submit(greedy(2, prompt_of(1'000, 3), 2)).ok());
    i64 worst_ns = 0;
    while (h.outcomes[2].finishes == 0) worst_ns = std::max(worst_ns, h.step().wall_ns);
    if (is_aimed) {
      EXPECT_LT(worst_ns, kTargetNs * 5 / 4);
      EXPECT_LT(h.engine.status().step_time.error, 0.1);
    } else {
      EXPECT_GT(worst_ns, 8 * kTargetNs);
    }
  }
}

}  // namespace
}  // namespace tg::engine
