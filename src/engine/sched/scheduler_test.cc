// The scheduler alone, step by step: what each sequence is given, who is admitted, who gives way.
#include "engine/sched/scheduler.h"

#include <gtest/gtest.h>

#include <string>

namespace tg::engine {
namespace {

constexpr i64 kPatienceNs = 1'000;

// A queue, a pool and a scheduler, with the commit of a step reduced to its effect on them.
struct Bench {
  // Unless a test says otherwise, outputs are expected to end within a block.
  Bench(i64 blocks, const SchedulerLimits& limits, bool prefix_cache = false)
      : pool({.blocks = blocks, .block_tokens = 4, .prefix_cache = prefix_cache}),
        scheduler(limits, pool) {}

  void add(i64 prompt, i64 max_tokens, i32 first_token = 0,
           Priority priority = Priority::kStandard) {
    std::unique_ptr<Sequence> s = std::make_unique<Sequence>();
    s->request.id = ++last_id;
    s->serial = last_id;
    s->request.max_tokens = max_tokens;
    s->request.funded_tokens = max_tokens;
    s->request.priority = priority;
    s->submitted_ns = now_ns;
    s->due_ns = now_ns + deadline_ns;
    s->ripe_ns = s->due_ns + kPatienceNs;
    for (i64 i = 0; i < prompt; ++i) s->tokens.push_back(first_token + static_cast<i32>(i));
    s->prompt_tokens = prompt;
    queue.add(std::move(s));
  }

  // The plan as "1:4 2:1", with "-3" for a request preempted for lack of blocks and "-3<5" for one
  // that gave way to request 5; then every planned token is computed
  // and every sequence that caught up knows one token more.
  std::string step() {
    const Plan& plan = scheduler.schedule(queue, pool, model, now_ns);
    std::string text;
    for (const PreemptEvent& event : plan.preempted) {
      text += "-" + std::to_string(event.request);
      if (event.reason == PreemptReason::kPriority) text += "<" + std::to_string(event.beneficiary);
      text += " ";
    }
    for (i64 i = 0; i < queue.running(); ++i) {
      Sequence& s = queue.at(i);
      text += std::to_string(s.request.id) + ":" + std::to_string(plan.tokens[i]) + " ";
      s.computed += plan.tokens[i];
      for (; pool.caches() && (s.published + 1) * 4 <= s.computed; ++s.published) {
        pool.publish(
            s.blocks, s.published, 0,
            std::span<const i32>(s.tokens).subspan(static_cast<std::size_t>(4 * s.published), 4));
      }
      if (s.computed < s.known()) continue;
      s.tokens.push_back(99);
      ++s.usage.output_tokens;
    }
    ++now_ns;
    pool.audit();
    if (!text.empty()) text.pop_back();
    return text;
  }

  void end(u64 id) {
    queue.end(*queue.find(id), Finish::kStop);
    std::vector<SequenceQueue::Owned> ended;
    queue.take_ended(ended);
    for (SequenceQueue::Owned& s : ended) pool.release_all(s->blocks);
  }

  SequenceQueue queue;
  BlockPool pool;
  StepModel model;
  Scheduler scheduler;
  i64 now_ns = 0;
  i64 deadline_ns = kPatienceNs;  // of what is added next
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
  EXPECT_EQ(b.queue.next(b.now_ns)->request.id, 3u);
  EXPECT_EQ(b.queue.next(b.now_ns)->computed, 0);
  EXPECT_TRUE(b.queue.next(b.now_ns)->blocks.empty());
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
  b.end(1);
  EXPECT_EQ(b.step(), "2:2");
}

TEST(Scheduler, ATwinWaitsForTheBlocksItWouldComputeAgain) {
  Bench b(32, {.running_max = 4, .step_tokens_max = 8, .context_max = 64}, true);
  b.add(18, 9);
  b.add(18, 9);
  b.add(3, 9, 40);
  EXPECT_EQ(run(b, 4), (Steps{"1:8", "1:8", "1:2 2:2 3:3", "1:1 2:1 3:1"}));
}

constexpr Priority kInteractive = Priority::kInteractive;
constexpr Priority kStandard = Priority::kStandard;
constexpr Priority kBatch = Priority::kBatch;

TEST(Scheduler, AdmitsByClassThenDueTimeThenOrder) {
  Bench b(64, {.running_max = 1, .step_tokens_max = 8, .context_max = 64});
  b.add(2, 9, 0, kBatch);
  b.add(2, 9, 0, kStandard);
  b.deadline_ns = 500;
  b.add(2, 9, 0, kStandard);
  b.add(2, 9, 0, kStandard);
  b.deadline_ns = kPatienceNs;
  b.add(2, 9, 0, kInteractive);
  std::string order;
  while (b.queue.open() > 0) {
    std::string step = b.step();
    order += step + " ";
    b.end(b.queue.at(0).request.id);
  }
  EXPECT_EQ(order, "5:2 3:2 4:2 2:2 1:2 ");
}

TEST(Scheduler, WhoeverIsRipeComesBeforeEveryClass) {
  Bench b(64, {.running_max = 1, .step_tokens_max = 8, .context_max = 64, .preemptions_max = 9});
  b.add(2, 9, 0, kBatch);
  b.now_ns += 2 * kPatienceNs - 1;
  b.add(2, 9, 0, kInteractive);
  EXPECT_EQ(b.step(), "2:2");
  b.end(2);
  b.add(2, 9, 0, kInteractive);
  EXPECT_EQ(b.step(), "1:2");  // Ripe by now.
  b.now_ns += 1;
  EXPECT_EQ(b.step(), "1:1");  // And not to be moved.
}

TEST(Scheduler, AHigherClassTakesTheSlotOfALowerOneSoManyTimes) {
  Bench b(64, {.running_max = 1, .step_tokens_max = 8, .context_max = 64, .preemptions_max = 2});
  b.add(2, 9, 0, kBatch);
  EXPECT_EQ(b.step(), "1:2");
  b.add(2, 9, 0, kStandard);
  EXPECT_EQ(b.step(), "-1<2 2:2");
  b.add(2, 9, 0, kInteractive);
  EXPECT_EQ(b.step(), "-2<3 3:2");
  b.end(3);
  EXPECT_EQ(b.step(), "2:3");
  b.end(2);
  EXPECT_EQ(b.step(), "1:3");
  b.add(2, 9, 0, kInteractive);
  EXPECT_EQ(b.step(), "-1<4 4:2");
  b.add(2, 9, 0, kInteractive);
  b.end(4);
  EXPECT_EQ(b.step(), "1:4");  // Twice is enough: it is ripe now.
  EXPECT_EQ(b.step(), "1:1");
  b.end(1);
  EXPECT_EQ(b.step(), "5:2");
}

TEST(Scheduler, EqualsNeverPreemptEachOther) {
  Bench b(64, {.running_max = 1, .step_tokens_max = 8, .context_max = 64, .preemptions_max = 9});
  b.add(2, 9);
  EXPECT_EQ(b.step(), "1:2");
  b.deadline_ns = 0;
  b.add(2, 9);
  EXPECT_EQ(b.step(), "1:1");
}

TEST(Scheduler, AHigherClassTakesMemoryAndNoMoreThanItNeeds) {
  SchedulerLimits limits{
      .running_max = 4, .step_tokens_max = 64, .context_max = 64, .preemptions_max = 9};
  Bench b(6, limits);
  b.add(8, 1, 0, kBatch);
  b.add(8, 1, 10, kBatch);
  b.add(8, 1, 20, kBatch);
  EXPECT_EQ(b.step(), "1:8 2:8 3:8");
  for (u64 id : {1, 2, 3}) b.queue.find(id)->tokens.pop_back();  // They stay as they are.
  for (u64 id : {1, 2, 3}) b.queue.find(id)->computed = 7;
  b.add(8, 1, 30, kInteractive);
  EXPECT_EQ(b.step(), "-3<4 4:8 1:1 2:1");
}

TEST(Scheduler, NobodyGivesWayInVain) {
  SchedulerLimits limits{
      .running_max = 4, .step_tokens_max = 64, .context_max = 64, .preemptions_max = 9};
  Bench b(8, limits);
  b.add(12, 8, 0, kInteractive);
  b.add(8, 8, 20, kBatch);
  EXPECT_EQ(b.step(), "1:12 2:8");
  b.add(20, 1, 40, kInteractive);  // Five blocks; without the second request there would be four.
  EXPECT_EQ(b.step(), "1:1 2:1");
}

TEST(Scheduler, AHigherClassDoesNotWaitForATwinOfALowerOne) {
  Bench b(32, {.running_max = 4, .step_tokens_max = 8, .context_max = 64}, true);
  b.add(18, 9, 0, kBatch);
  EXPECT_EQ(b.step(), "1:8");
  b.add(18, 9, 0, kInteractive);  // Finds two blocks, and computes the third itself.
  EXPECT_EQ(b.step(), "2:8 1:0");
}

TEST(Scheduler, AdmissionSeesTheGrowthToCome) {
  SchedulerLimits limits{
      .running_max = 4, .step_tokens_max = 64, .context_max = 64, .output_guess = 16};
  Bench b(8, limits);
  b.add(4, 16);
  b.add(4, 16, 20);  // Both would come to five blocks.
  b.add(4, 4, 40);
  EXPECT_EQ(b.step(), "1:4");
  Bench small(8, limits);
  small.add(4, 16);
  small.add(4, 4, 20);  // Gone before the first has grown.
  EXPECT_EQ(small.step(), "1:4 2:4");
  Bench late(8, limits);
  late.add(4, 16);
  for (i64 i = 0; i < 12; ++i) late.step();
  late.add(4, 16, 20);  // The first is about to end.
  EXPECT_EQ(late.step(), "1:1 2:4");
}

TEST(Scheduler, AdmissionLearnsHowLongOutputsGet) {
  Bench b(8, {.running_max = 4, .step_tokens_max = 64, .context_max = 64, .output_guess = 16});
  Sequence ended;
  ended.usage.output_tokens = 2;
  for (i64 i = 0; i < 1'000; ++i) b.scheduler.learn(ended);
  b.add(4, 16);
  b.add(4, 16, 20);
  EXPECT_EQ(b.step(), "1:4 2:4");
}

TEST(OutputGuess, SettlesAtTheUpperDecile) {
  OutputGuess guess(500);
  Sequence sequence;
  sequence.request.funded_tokens = 10'000;
  for (i64 i = 0; i < 2'000; ++i) guess.learn(kStandard, 1 + i * 7 % 100);
  EXPECT_GT(guess.left(sequence, 4), 70);
  EXPECT_LT(guess.left(sequence, 4), 115);
}

TEST(Scheduler, AShortPromptNeedNotWaitForALongOne) {
  Bench b(128, {.running_max = 4, .step_tokens_max = 8, .context_max = 512});
  b.add(200, 5);
  EXPECT_EQ(b.step(), "1:8");
  b.add(6, 5, 20);
  b.add(100, 5, 40);  // Too long to pass.
  EXPECT_EQ(run(b, 4), (Steps{"1:6 2:2", "1:6 2:2", "1:6 2:2", "1:7 2:1"}));
  // Ripe ones keep their order.
  b.now_ns += 2 * kPatienceNs;
  b.add(4, 5, 60, kInteractive);
  b.add(4, 5, 80);
  EXPECT_EQ(b.step(), "1:7 2:1");
}

// A step takes 1,000 ns and 100 ns per token.
void teach(StepModel& model) {
  for (i64 i = 0; i < 400; ++i) {
    StepSize size;
    size.add(i * 13 % 50, 1 + i * 7 % 40, 1);
    if (i % 3 == 0) size.add(i % 5, 1, 1);
    model.observe(size, 1'000 + 100 * size.tokens);
  }
}

TEST(Scheduler, PromptsBesideAStreamKeepTheStepsTarget) {
  for (Priority priority : {kInteractive, kBatch}) {
    Bench b(64,
            {.running_max = 4, .step_tokens_max = 60, .context_max = 256, .step_target_ns = 3'000});
    teach(b.model);
    b.add(3, 40, 0, priority);
    EXPECT_EQ(b.step(), "1:3");
    b.add(120, 5, 40, priority);
    b.step();
    i64 chunk = b.queue.at(1).computed;
    if (priority == kInteractive) {
      // 1,000 + 100 * (1 + 19) ns.
      EXPECT_NEAR(static_cast<f64>(chunk), 19, 2);
    } else {
      EXPECT_EQ(chunk, 59) << "nobody watches";
    }
  }
}

TEST(SchedulerDeath, ABudgetBelowTheBatchIsOurMistake) {
  BlockPool pool({.blocks = 8, .block_tokens = 4});
  EXPECT_DEATH(Scheduler({.running_max = 4, .step_tokens_max = 3, .context_max = 8}, pool),
               "running_max <= limits.step_tokens_max");
}

}  // namespace
}  // namespace tg::engine
