// Funds that come late: a sequence waits for them at its edge with its place and its keys, and says
// what it would have said; it ends there only when its payer says that there is no more, or says
// nothing for too long.
#include <gtest/gtest.h>

#include "engine/harness.h"
#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::engine {
namespace {

constexpr i64 kWaitNs = 1'000'000;  // some 800 readings of the harness's clock

EngineLimits waits(i64 running_max = 8) {
  return {.running_max = running_max,
          .waiting_max = 64,
          .step_tokens_max = 32,
          .funds_wait_ns = kWaitNs,
          .funds_keep_ns = kWaitNs / 2};
}

EngineRequest funded(u64 id, i64 max_tokens, i64 funded_tokens) {
  EngineRequest request = greedy(id, prompt_of(9, static_cast<i32>(id)), max_tokens);
  request.funded_tokens = funded_tokens;
  return request;
}

Outcome alone(EngineRequest request) {
  Harness h(shape(64), {.running_max = 1, .waiting_max = 1, .prefix_cache = false});
  request.funded_tokens = 0;
  EXPECT_TRUE(h.submit(request).ok());
  EXPECT_TRUE(h.finish_all(200));
  return h.outcomes[request.id];
}

void step_until_paused(Harness& h) {
  for (i64 i = 0; i < 100 && !h.engine.is_paused(); ++i) h.step();
  ASSERT_TRUE(h.engine.is_paused());
}

TEST(EngineFunds, LateFundsGoOnWhereItPausedAndComputeNothingTwice) {
  EngineRequest request = funded(1, 12, 5);
  EngineLimits limits = waits();
  limits.prefix_cache = false;  // so that only its own blocks can save work
  Harness h(shape(64), limits);
  ASSERT_TRUE(h.submit(request).ok());
  step_until_paused(h);
  EXPECT_EQ(h.outcomes[1].tokens.size(), 5u);
  EngineStatus status = h.engine.status();
  EXPECT_EQ(status.paused, 1);
  EXPECT_EQ(status.running + status.waiting, 0);
  u64 steps = status.steps;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(h.step().batch_tokens, 0);
  EXPECT_EQ(h.engine.status().steps, steps);
  EXPECT_LT(h.engine.status().kv_pages_free, h.engine.status().kv_pages_total);
  ASSERT_TRUE(h.engine.extend(1, 4).ok());  // nothing new: it goes on waiting
  EXPECT_TRUE(h.engine.is_paused());
  ASSERT_TRUE(h.engine.extend(1, 12).ok());
  EXPECT_FALSE(h.engine.is_paused());
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kLength);
  EXPECT_EQ(h.outcomes[1].tokens, alone(request).tokens);
  EXPECT_EQ(h.engine.status().recomputed_tokens, 0u);
}

TEST(EngineFunds, NoMoreFundsEndItAtOnceWhereverItIs) {
  for (bool is_paused : {false, true}) {
    Harness h(shape(64), waits());
    ASSERT_TRUE(h.submit(funded(1, 12, 5)).ok());
    if (is_paused) step_until_paused(h);
    ASSERT_TRUE(h.engine.extend(1, 5, true).ok());
    EXPECT_FALSE(h.engine.is_paused());
    ASSERT_TRUE(h.finish_all(50));
    EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kFunds);
    EXPECT_EQ(h.outcomes[1].tokens.size(), 5u);
  }
  Harness h(shape(64), waits());
  EngineRequest request = funded(1, 12, 5);
  request.is_funding_final = true;
  ASSERT_TRUE(h.submit(request).ok());
  ASSERT_TRUE(h.finish_all(50));
  EXPECT_EQ(h.outcomes[1].tokens.size(), 5u);
}

TEST(EngineFunds, SilenceEndsItAfterItsBoundAndNotBefore) {
  Harness h(shape(64), waits());
  ASSERT_TRUE(h.submit(funded(1, 12, 5)).ok());
  step_until_paused(h);
  i64 paused_ns = h.clock.ns;
  while (h.clock.ns < paused_ns + kWaitNs / 2) h.step();
  EXPECT_TRUE(h.engine.is_paused());
  ASSERT_TRUE(h.finish_all(2'000));
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kFunds);
  EXPECT_LT(h.clock.ns - paused_ns, kWaitNs + 10'000);
  EXPECT_EQ(h.engine.status().kv_pages_free, h.engine.status().kv_pages_total);
}

TEST(EngineFunds, APausedOneLeavesItsSlotAndCanBeCancelled) {
  Harness h(shape(64), waits(1));
  ASSERT_TRUE(h.submit(funded(1, 12, 5)).ok());
  ASSERT_TRUE(h.submit(funded(2, 12, 0)).ok());
  for (i64 i = 0; i < 100 && h.outcomes[2].finishes == 0; ++i) h.step();
  EXPECT_EQ(h.outcomes[2].finish.reason, Finish::kLength);
  EXPECT_TRUE(h.engine.is_paused());
  h.engine.cancel(1);
  ASSERT_TRUE(h.finish_all(3));
  EXPECT_EQ(h.outcomes[1].finish.reason, Finish::kCancelled);
}

// Of a pool that holds one of them: the second runs on the paused one's blocks.
TEST(EngineFunds, KeysGiveWayToWhoeverCouldNotRunOtherwise) {
  EngineLimits limits = waits();
  limits.prefix_cache = false;
  Harness h(shape(6), limits);
  EngineRequest first = funded(1, 12, 5);
  ASSERT_TRUE(h.submit(first).ok());
  step_until_paused(h);
  ASSERT_TRUE(h.submit(funded(2, 12, 0)).ok());
  for (i64 i = 0; i < 100 && h.outcomes[2].finishes == 0; ++i) h.step();
  EXPECT_EQ(h.outcomes[2].finish.reason, Finish::kLength);
  ASSERT_TRUE(h.engine.extend(1, 12).ok());
  ASSERT_TRUE(h.finish_all(100));
  EXPECT_EQ(h.outcomes[1].tokens, alone(first).tokens);
  EXPECT_GT(h.engine.status().recomputed_tokens, 0u);
}

// A payer who extends each request by random slices, each so many steps after its edge was reached.
struct Payer {
  i64 edge = 0;
  i64 delay = -1;  // steps until the word comes; -1: nothing is due
  bool is_refused = false;
};

void run_late(u64 seed) {
  SeededRandom random(seed);
  EngineLimits limits = waits(1 + static_cast<i64>(random.below(8)));
  limits.funds_wait_ns = 1'000'000'000;
  limits.funds_keep_ns = random.below(2) == 0 ? 0 : static_cast<i64>(random.below(200'000));
  limits.prefix_cache = random.below(2) == 0;
  limits.draft_tokens_max = static_cast<i64>(random.below(5));
  FakeExecutor::Shape device = shape(8 + static_cast<i64>(random.below(40)));
  Harness h(device, limits);
  std::map<u64, EngineRequest> requests;
  std::map<u64, Payer> payers;
  u64 count = 1 + random.below(10);
  for (u64 id = 0; id < count; ++id) {
    EngineRequest request = funded(id, 2 + static_cast<i64>(random.below(20)), 0);
    request.priority = static_cast<Priority>(random.below(3));
    request.sampling.temperature = random.below(2) == 0 ? 0.0f : 1.0f;
    request.sampling.seed = random.next();
    request.funded_tokens =
        1 + static_cast<i64>(random.below(static_cast<u64>(request.max_tokens)));
    payers[id].edge = request.funded_tokens;
    requests[id] = request;
    ASSERT_TRUE(h.submit(request).ok());
  }
  i64 steps = 0;
  while (h.engine.has_work()) {
    ASSERT_LT(++steps, 5'000) << "stuck";
    h.step();
    for (auto& [id, payer] : payers) {
      const EngineRequest& request = requests[id];
      bool is_at_edge = h.outcomes[id].finishes == 0 && payer.edge < request.max_tokens &&
                        static_cast<i64>(h.outcomes[id].tokens.size()) == payer.edge;
      if (payer.delay < 0 && is_at_edge) payer.delay = static_cast<i64>(random.below(30));
      if (payer.delay < 0 || payer.delay-- > 0) continue;
      payer.is_refused = random.below(10) == 0;
      if (!payer.is_refused)
        payer.edge +=
            1 + static_cast<i64>(random.below(static_cast<u64>(request.max_tokens - payer.edge)));
      // It is open: it ends only by what is said here, or at its limit.
      ASSERT_TRUE(h.engine.extend(id, payer.edge, payer.is_refused).ok());
    }
  }
  for (const auto& [id, request] : requests) {
    const Outcome& outcome = h.outcomes[id];
    Outcome truth = alone(request);
    ASSERT_EQ(outcome.finishes, 1);
    ASSERT_EQ(outcome.finish.reason == Finish::kFunds, payers[id].is_refused);
    if (payers[id].is_refused) truth.tokens.resize(static_cast<std::size_t>(payers[id].edge));
    ASSERT_EQ(outcome.tokens, truth.tokens);
  }
  ASSERT_EQ(h.engine.status().kv_pages_free, h.engine.status().kv_pages_total);
  ASSERT_EQ(h.attributed_ns(), h.wall_ns);
}

TEST(EngineFunds, LateOrEarlyTheTokensAreTheSameAndNobodyIsStuck) {
  for (u64 seed = first_seed(); seed < first_seed() + 3'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    run_late(seed);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

}  // namespace
}  // namespace tg::engine
