// The scheduler alone, step by step: what each sequence is given, who is admitted, who gives way.
#include "engine/sched/scheduler.h"

#include <gtest/gtest.h>

#include <string>

namespace tg::engine {
namespace {

// A queue, a pool and a scheduler, with the commit of a step reduced to its effect on them.
struct Bench {
  Bench(i64 blocks, const SchedulerLimits& limits, bool prefix_cache = false)
      : pool({.blocks = blocks, .block_tokens = 4, .prefix_cache = prefix_cache}),
        scheduler(limits, 4) {}

  void add(i64 prompt, i64 max_tokens, i32 first_token = 0) {
    std::unique_ptr<Sequence> s = std::make_unique<Sequence>();
    s->request.id = ++last_id;
    s->request.max_tokens = max_tokens;
    for (i64 i = 0; i < prompt; ++i) s->tokens.push_back(first_token + static_cast<i32>(i));
    s->prompt_tokens = prompt;
    queue.order.push_back(std::move(s));
  }

  // The plan as "1:4 2:1", with "-3" for a preempted request; then every planned token is computed
  // and every sequence that caught up knows one token more.
  std::string step() {
    const Plan& plan = scheduler.schedule(queue, pool);
    std::string text;
    for (const PreemptEvent& event : plan.preempted)
      text += "-" + std::to_string(event.request) + " ";
    for (i64 i = 0; i < queue.running; ++i) {
      Sequence& s = queue.at(i);
      text += std::to_string(s.request.id) + ":" + std::to_string(plan.tokens[i]) + " ";
      s.computed += plan.tokens[i];
      for (; pool.caches() && (s.published + 1) * 4 <= s.computed; ++s.published) {
        pool.publish(
            s.blocks, s.published, 0,
            std::span<const i32>(s.tokens).subspan(static_cast<std::size_t>(4 * s.published), 4));
      }
      if (s.computed == s.known()) s.tokens.push_back(99);
    }
    pool.audit();
    if (!text.empty()) text.pop_back();
    return text;
  }

  SequenceQueue queue;
  BlockPool pool;
  Scheduler scheduler;
  u64 last_id = 0;
};

using Steps = std::vector<std::string>;

Steps run(Bench& bench, i64 count) {
  Steps steps;
  for (i64 i = 0; i < count; ++i) steps.push_back(bench.step());
  return steps;
}

TEST(Scheduler, DecodesFirstThenPromptsInOrder) {
  Bench b(64, {.running_max = 4, .step_tokens_max = 8, .context_max = 64});
  b.add(3, 20);
  b.add(11, 20);
  b.add(6, 20);
  b.add(2, 20);
  b.add(2, 20);  // The fifth finds no place.
  EXPECT_EQ(run(b, 5), (Steps{"1:3 2:5", "1:1 2:6 3:1", "1:1 2:1 3:5 4:1", "1:1 2:1 3:1 4:1",
                              "1:1 2:1 3:1 4:1"}));
}

TEST(Scheduler, ABudgetAsSmallAsTheBatchStillMovesEverybody) {
  Bench b(64, {.running_max = 3, .step_tokens_max = 3, .context_max = 64});
  b.add(2, 9);
  b.add(4, 9);
  b.add(1, 9);
  EXPECT_EQ(run(b, 5), (Steps{"1:2 2:1", "1:1 2:2", "1:1 2:1 3:1", "1:1 2:1 3:1", "1:1 2:1 3:1"}));
}

TEST(Scheduler, AdmitsOnlyWhatFitsWholeWithABlockToGrow) {
  // The first request takes two blocks and may need a third; the second takes three and one to
  // grow.
  Bench b(7, {.running_max = 4, .step_tokens_max = 64, .context_max = 64});
  b.add(8, 3);
  b.add(12, 5);
  EXPECT_EQ(b.step(), "1:8 2:12");
  Bench tight(6, {.running_max = 4, .step_tokens_max = 64, .context_max = 64});
  tight.add(8, 3);
  tight.add(12, 5);
  EXPECT_EQ(tight.step(), "1:8");
  // Without growth to come, three blocks are enough.
  Bench last(6, {.running_max = 4, .step_tokens_max = 64, .context_max = 64});
  last.add(8, 3);
  last.add(12, 1);
  EXPECT_EQ(last.step(), "1:8 2:12");
}

TEST(Scheduler, NobodyOvertakesTheHeadOfTheQueue) {
  Bench b(6, {.running_max = 4, .step_tokens_max = 64, .context_max = 64});
  b.add(8, 9);
  b.add(16, 5);  // Does not fit beside the first.
  b.add(1, 1);   // Would, but came later.
  EXPECT_EQ(run(b, 2), (Steps{"1:8", "1:1"}));
}

TEST(Scheduler, TheNewestGivesWay) {
  Bench b(7, {.running_max = 4, .step_tokens_max = 64, .context_max = 64});
  b.add(7, 12);
  b.add(3, 12, 30);
  b.add(3, 9, 60);
  // Blocks 2 + 1 + 1, one more for each in the third step, and the pool is full. In the seventh the
  // first two need one each and the third gives its two back.
  EXPECT_EQ(run(b, 7), (Steps{"1:7 2:3 3:3", "1:1 2:1 3:1", "1:1 2:1 3:1", "1:1 2:1 3:1",
                              "1:1 2:1 3:1", "1:1 2:1 3:1", "-3 1:1 2:1"}));
  EXPECT_EQ(b.queue.at(2).request.id, 3u);
  EXPECT_EQ(b.queue.at(2).computed, 0);
  EXPECT_TRUE(b.queue.at(2).blocks.empty());
}

TEST(Scheduler, ASequenceMayHaveToGiveWayItself) {
  Bench b(5, {.running_max = 2, .step_tokens_max = 64, .context_max = 64});
  b.add(4, 9);
  b.add(4, 9, 30);
  // Five blocks hold two sequences of two; the older takes the fifth.
  EXPECT_EQ(run(b, 7),
            (Steps{"1:4 2:4", "1:1 2:1", "1:1 2:1", "1:1 2:1", "1:1 2:1", "-2 1:1", "1:1"}));
}

TEST(Scheduler, PrefixHitsCountAsComputed) {
  Bench b(16, {.running_max = 1, .step_tokens_max = 64, .context_max = 64}, true);
  b.add(10, 1);
  b.add(10, 1);
  EXPECT_EQ(b.step(), "1:10");
  b.pool.release_all(b.queue.at(0).blocks);
  b.queue.order.erase(b.queue.order.begin());
  b.queue.running = 0;
  EXPECT_EQ(b.step(), "2:2");
}

TEST(Scheduler, ATwinWaitsForTheBlocksItWouldComputeAgain) {
  Bench b(32, {.running_max = 4, .step_tokens_max = 8, .context_max = 64}, true);
  b.add(18, 9);
  b.add(18, 9);
  b.add(3, 9, 40);
  EXPECT_EQ(run(b, 4), (Steps{"1:8", "1:8", "1:2 2:2 3:3", "1:1 2:1 3:1"}));
}

TEST(SchedulerDeath, ABudgetBelowTheBatchIsOurMistake) {
  EXPECT_DEATH(Scheduler({.running_max = 4, .step_tokens_max = 3, .context_max = 8}, 4),
               "running_max <= limits.step_tokens_max");
}

}  // namespace
}  // namespace tg::engine
