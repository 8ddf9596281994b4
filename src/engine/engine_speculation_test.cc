// Speculation on a device with habits: the same tokens in fewer steps where it pays, none of it
// where it does not, and rejected proposals in the actual work only.
#include <gtest/gtest.h>

#include "engine/harness.h"
#include "engine/spec/model_drafter.h"

namespace tg::engine {
namespace {

// Nine rows in ten continue a cycle of five tokens.
FakeExecutor::Shape habitual(i64 pages = 64) {
  FakeExecutor::Shape device = shape(pages);
  device.habit = 230;
  return device;
}

EngineLimits limits(i64 draft_tokens_max) {
  return {.running_max = 8,
          .waiting_max = 64,
          .step_tokens_max = 64,
          .draft_tokens_max = draft_tokens_max};
}

// Reading the weights is nearly all there is to a step, as on a processor at small batches.
constexpr StepTime kBoundByMemory{.ns_per_step = 10e6, .ns_per_token = 1e5, .ns_per_row = 1e4};
// Every token costs as much as the first.
constexpr StepTime kBoundByCompute{.ns_per_step = 1e3, .ns_per_token = 10e6};

EngineRequest request_of(u64 id, bool is_greedy) {
  EngineRequest request = greedy(id, prompt_of(9, static_cast<i32>(id)), 40);
  request.sampling.temperature = is_greedy ? 0.0f : 1.0f;
  request.sampling.seed = id;
  request.sampling.logprobs = 0;
  return request;
}

struct Observed {
  std::map<u64, Outcome> outcomes;
  EngineStatus status;
};

Observed run(const EngineLimits& limits, const StepTime& time, i64 requests,
             Drafter* drafter = nullptr, FakeExecutor::Shape device = habitual(128)) {
  Harness h(device, limits, drafter);
  h.executor.time = time;
  for (i64 id = 0; id < requests; ++id) {
    EXPECT_TRUE(h.submit(request_of(static_cast<u64>(id), id % 2 == 0)).ok());
  }
  EXPECT_TRUE(h.finish_all());
  EXPECT_EQ(h.attributed_ns(), h.wall_ns);
  EXPECT_EQ(h.engine.status().kv_pages_free, h.engine.status().kv_pages_total);
  return {h.outcomes, h.engine.status()};
}

void expect_same_text(const Observed& a, const Observed& b) {
  ASSERT_EQ(a.outcomes.size(), b.outcomes.size());
  for (const std::pair<const u64, Outcome>& o : a.outcomes) {
    EXPECT_EQ(o.second.tokens, b.outcomes.at(o.first).tokens) << o.first;
    EXPECT_EQ(o.second.logprobs, b.outcomes.at(o.first).logprobs) << o.first;
    EXPECT_EQ(o.second.finish.usage.output_tokens,
              b.outcomes.at(o.first).finish.usage.output_tokens);
    EXPECT_EQ(o.second.finish.usage.prompt_tokens,
              b.outcomes.at(o.first).finish.usage.prompt_tokens);
  }
}

TEST(Speculation, SameTextInFewerSteps) {
  for (i64 requests : {1, 2, 4}) {
    Observed plain = run(limits(0), kBoundByMemory, requests);
    Observed drafted = run(limits(6), kBoundByMemory, requests);
    expect_same_text(plain, drafted);
    EXPECT_EQ(plain.status.drafts.drafted, 0u);
    EXPECT_GT(drafted.status.drafts.accepted, 0u);
    EXPECT_LT(drafted.status.steps * 10, plain.status.steps * 8) << requests;
    u64 per_request = 0;
    for (const std::pair<const u64, Outcome>& o : drafted.outcomes) {
      per_request += o.second.finish.drafts.accepted;
      EXPECT_LE(o.second.finish.drafts.accepted, o.second.finish.drafts.drafted);
    }
    EXPECT_EQ(per_request, drafted.status.drafts.accepted);
  }
}

TEST(Speculation, IsLeftAloneWhereItLoses) {
  for (i64 requests : {1, 4}) {
    Observed plain = run(limits(0), kBoundByCompute, requests);
    Observed drafted = run(limits(6), kBoundByCompute, requests);
    expect_same_text(plain, drafted);
    // But for a token now and then, to see whether it still does.
    EXPECT_LE(drafted.status.drafts.drafted, 8u) << requests;
  }
}

// What the model learnt at first, and nothing but trying can unlearn: that tokens are dear.
TEST(Speculation, FindsOutThatItPays) {
  FakeExecutor::Shape device = shape(512, 64, 2'000);
  device.habit = 250;
  Harness h(device, limits(6));
  h.executor.time = kBoundByCompute;
  ASSERT_TRUE(h.submit(greedy(1, prompt_of(30), 1'900)).ok());
  for (i64 i = 0; i < 12; ++i) h.step();
  h.executor.time = kBoundByMemory;
  ASSERT_TRUE(h.finish_all());
  EXPECT_EQ(h.engine.status().output_tokens, 1'900u);
  EXPECT_LT(h.engine.status().steps, 1'200u);
}

// Knows what requests will say, or claims to.
class Oracle final : public Drafter {
 public:
  Oracle(const std::map<u64, Outcome>& truth, i32 error) : truth_(truth), error_(error) {}
  void propose(std::span<DraftAsk> asks) override {
    for (DraftAsk& ask : asks) {
      const std::vector<i32>& output = truth_.at(ask.request).tokens;
      std::size_t said = ask.tokens.size() - 9;
      for (i64 i = 0; i < ask.most; ++i) {
        ask.draft->push_back((output[said + static_cast<std::size_t>(i)] + error_) % 64);
      }
    }
  }
  void forget(u64) override { ++forgotten; }
  i64 forgotten = 0;

 private:
  const std::map<u64, Outcome>& truth_;
  i32 error_;
};

FakeExecutor::Shape aimless() {
  FakeExecutor::Shape device = habitual(128);
  device.habit = 0;
  return device;
}

TEST(Speculation, ADrafterIsAskedWhereNothingRepeats) {
  Observed plain = run(limits(0), kBoundByMemory, 3, nullptr, aimless());
  Oracle right(plain.outcomes, 0);
  Observed good = run(limits(4), kBoundByMemory, 3, &right, aimless());
  expect_same_text(plain, good);
  EXPECT_EQ(right.forgotten, 3);
  EXPECT_EQ(good.status.drafts.accepted, good.status.drafts.drafted);
  EXPECT_LT(good.status.steps * 2, plain.status.steps);
}

TEST(Speculation, WrongProposalsCostWorkAndAreNotBilled) {
  Observed plain = run(limits(0), kBoundByMemory, 1, nullptr, aimless());
  Oracle wrong(plain.outcomes, 1);
  Observed bad = run(limits(4), kBoundByMemory, 1, &wrong, aimless());
  expect_same_text(plain, bad);
  EXPECT_EQ(bad.status.drafts.accepted, 0u);
  EXPECT_GT(bad.status.drafts.drafted, 0u);
  // The hit rate falls, and with it what is tried: all of it would be four times 39.
  EXPECT_LT(bad.status.drafts.drafted, 70u);
  EXPECT_TRUE(bad.outcomes.at(0).finish.usage.actual_atto_st >
              plain.outcomes.at(0).finish.usage.actual_atto_st);
  EXPECT_EQ(bad.status.output_tokens, plain.status.output_tokens);
}

// What follows a stop token, or the last funded one, is neither emitted nor counted, however much
// of it was proposed and right.
TEST(Speculation, EndsWhereItWouldEndWithout) {
  Observed plain = run(limits(0), kBoundByMemory, 1, nullptr, aimless());
  const std::vector<i32>& truth = plain.outcomes.at(0).tokens;
  for (std::size_t end = 12; end < 18; ++end) {
    Oracle right(plain.outcomes, 0);
    Harness stops(aimless(), limits(6), &right);
    Harness pays(aimless(), limits(6), &right);
    stops.executor.time = kBoundByMemory;
    pays.executor.time = kBoundByMemory;
    EngineRequest request = request_of(0, true);
    request.stop_tokens = {truth[end]};
    ASSERT_TRUE(stops.submit(request).ok());
    request.stop_tokens = {};
    request.funded_tokens = static_cast<i64>(end);
    ASSERT_TRUE(pays.submit(request).ok());
    ASSERT_TRUE(stops.finish_all() && pays.finish_all());
    std::size_t first =
        static_cast<std::size_t>(std::ranges::find(truth, truth[end]) - truth.begin());
    EXPECT_EQ(stops.outcomes[0].finish.reason, Finish::kStop);
    EXPECT_EQ(stops.outcomes[0].tokens.size(), first + 1);
    EXPECT_EQ(stops.outcomes[0].finish.usage.output_tokens, static_cast<i64>(first) + 1);
    EXPECT_EQ(pays.outcomes[0].finish.reason, Finish::kFunds);
    EXPECT_EQ(pays.outcomes[0].tokens.size(), end);
  }
}

TEST(Speculation, RowsOfTheDeviceAreTheBound) {
  FakeExecutor::Shape device = habitual(128);
  device.limits.rows_max = 4;  // The fake device refuses more.
  Observed plain = run(limits(0), kBoundByMemory, 4, nullptr, device);
  Observed drafted = run(limits(6), kBoundByMemory, 4, nullptr, device);
  expect_same_text(plain, drafted);
}

// A drafter's own fake device: the same function of the tokens as the target's, on other pages.
struct DraftDevice {
  explicit DraftDevice(const FakeExecutor::Shape& device) : executor(device) {
    executor.time_ns = &clock.ns;
    executor.time = {.ns_per_step = 5e5};
  }
  unit::CostMatrix matrix = small_matrix();
  FakeExecutor executor;
  Harness::TickingClock clock;
  ModelDrafter drafter{executor, matrix, clock};
};

TEST(ModelDrafter, TheSameModelIsAlwaysRightGreedyOrNot) {
  Observed plain = run(limits(0), kBoundByMemory, 4, nullptr, aimless());
  DraftDevice device(aimless());
  Observed drafted = run(limits(4), kBoundByMemory, 4, &device.drafter, aimless());
  expect_same_text(plain, drafted);
  EXPECT_GT(drafted.status.drafts.drafted, 50u);
  EXPECT_EQ(drafted.status.drafts.accepted, drafted.status.drafts.drafted);
  EXPECT_EQ(device.drafter.pages_used(), 0) << "everybody is forgotten";
}

TEST(ModelDrafter, LittleRoomCostsOnlyProposals) {
  Observed plain = run(limits(0), kBoundByMemory, 6, nullptr, aimless());
  for (i64 pages : {3, 14, 20, 40}) {
    for (i64 tokens : {2, 5, 64}) {
      FakeExecutor::Shape small = aimless();
      small.limits.kv_pages = pages;
      small.limits.tokens_max = tokens;
      small.limits.sequences_max = 1 + tokens % 4;
      small.limits.context_max = 44;  // Of 49.
      DraftDevice device(small);
      Observed drafted = run(limits(4), kBoundByMemory, 6, &device.drafter, aimless());
      expect_same_text(plain, drafted);
      EXPECT_EQ(drafted.status.drafts.accepted, drafted.status.drafts.drafted);
      EXPECT_EQ(device.drafter.pages_used(), 0);
    }
  }
}

TEST(ModelDrafter, ItsErrorsAreNotTheTargets) {
  Observed plain = run(limits(0), kBoundByMemory, 3, nullptr, aimless());
  DraftDevice device(aimless());
  device.executor.fail_at_step = 4;
  device.executor.nan_at_step = 6;
  Observed drafted = run(limits(4), kBoundByMemory, 3, &device.drafter, aimless());
  expect_same_text(plain, drafted);
  EXPECT_GT(drafted.status.drafts.accepted, 0u);
}

TEST(ModelDrafter, ADearOneIsGivenUp) {
  Observed plain = run(limits(0), kBoundByMemory, 2, nullptr, aimless());
  DraftDevice device(aimless());
  device.executor.time.ns_per_step = 40e6;
  Observed drafted = run(limits(4), kBoundByMemory, 2, &device.drafter, aimless());
  expect_same_text(plain, drafted);
  EXPECT_GT(device.drafter.ns_per_token(), 1e6);
  EXPECT_LT(drafted.status.drafts.drafted, 20u);
}

}  // namespace
}  // namespace tg::engine
