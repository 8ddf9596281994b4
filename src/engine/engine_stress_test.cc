// A long life: requests of all classes come faster than they can be served, are cut off, preempted
// and starved of memory, and some steps trap. At the end every block is back, and nobody was
// overtaken who had waited long enough. TG_STRESS_REQUESTS=1000000 is the full length.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/harness.h"
#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::engine {
namespace {

constexpr u64 kRequestsInCi = 50'000;
constexpr i64 kStepNs = 1'000'000;
constexpr i64 kTokenNs = 50'000;
constexpr i64 kTokensMax = 16 + 8;  // of a request
constexpr i64 kWaitingMax = 24;     // of a class
constexpr i64 kRunningMax = 12;

u64 requests_wanted() {
  const char* text = std::getenv("TG_STRESS_REQUESTS");
  return text == nullptr ? kRequestsInCi : std::strtoull(text, nullptr, 10);
}

EngineLimits limits() {
  return {.running_max = kRunningMax,
          .waiting_max = kWaitingMax,
          .step_tokens_max = 64,
          .step_target_ns = 3 * kStepNs,
          .patience_ns = {20 * kStepNs, 60 * kStepNs, 200 * kStepNs},
          .preemptions_max = 3,
          .output_guess = 1,
          .draft_tokens_max = 3};
}

FakeExecutor::Shape device() {
  FakeExecutor::Shape device = shape(14, 64, 32);
  device.vocabulary = 16;
  device.limits.rows_max = 24;
  device.limits.swap_pages = 6;
  device.habit = 180;
  return device;
}

// What became of all requests, kept small: a million of them pass.
class Ledger {
 public:
  void submitted(const EngineRequest& request, i64 now_ns) {
    i64 patience_ns = limits().patience_ns[static_cast<std::size_t>(request.priority)];
    open_[request.id] = {now_ns, now_ns + 2 * patience_ns};
  }
  void ended(const FinishEvent& event) {
    ASSERT_EQ(open_.count(event.request), 1u);
    Open request = open_[event.request];
    open_.erase(event.request);
    ++finished;
    ++reasons[event.reason];
    if (event.usage.steps == 0) return;
    i64 ran_ns = request.submitted_ns + event.usage.queue_ns;
    waits.note(request.submitted_ns, request.ripe_ns, ran_ns);
    after_ripe_ns_max = std::max(after_ripe_ns_max, ran_ns - request.ripe_ns);
  }
  bool is_empty() const { return open_.empty(); }

  u64 finished = 0;
  std::map<Finish, u64> reasons;
  WaitCheck waits;
  i64 after_ripe_ns_max = 0;

 private:
  struct Open {
    i64 submitted_ns;
    i64 ripe_ns;
  };
  std::map<u64, Open> open_;
};

EngineRequest random_request(SeededRandom& random, u64 id) {
  EngineRequest request{.id = id};
  bool is_common = random.below(2) == 0;
  for (u64 n = 1 + random.below(16); n > 0; --n) {
    // The common ones count down to where the device's habit goes on counting.
    request.prompt.push_back(is_common ? static_cast<i32>((25 - n) % 5)
                                       : static_cast<i32>(random.below(16)));
  }
  request.max_tokens = static_cast<i64>(1 + random.below(8));
  if (random.below(10) == 0) request.funded_tokens = 1;
  request.sampling.temperature = 0;
  request.priority = static_cast<Priority>(random.below(3));
  return request;
}

TEST(EngineStress, ARandomLifeLeaksNothingAndStarvesNobody) {
  const u64 wanted = requests_wanted();
  SeededRandom random(first_seed());
  Harness h(device(), limits());
  h.executor.time = {.ns_per_step = kStepNs, .ns_per_token = kTokenNs};
  Ledger ledger;
  u64 submitted = 0;
  i64 step_ns_max = 0;
  u64 by_priority = 0;
  while (ledger.finished < wanted) {
    // Floods, in which everybody gets ripe, and quiet times, in which classes count.
    bool is_flood = submitted / 1'000 % 2 == 0;
    for (u64 burst = random.below(is_flood ? 10 : 3); burst > 0 && submitted < wanted; --burst) {
      EngineRequest request = random_request(random, submitted);
      if (!h.submit(request).ok()) continue;
      ledger.submitted(request, h.clock.ns);
      ++submitted;
    }
    u64 recent = submitted - random.below(std::min<u64>(submitted, 60) + 1);
    if (random.below(3) == 0) h.engine.cancel(recent);
    if (random.below(3) == 0) (void)h.engine.extend(recent, 1).ok();
    h.executor.fail_at_step = random.below(500) == 0 ? h.executor.steps + 1 : -1;
    StepResult result = h.step();
    step_ns_max = std::max(step_ns_max, result.wall_ns);
    for (const FinishEvent& event : result.finished) ledger.ended(event);
    for (const PreemptEvent& event : result.preempted) {
      by_priority += event.reason == PreemptReason::kPriority ? 1 : 0;
    }
    if (HasFatalFailure()) return;
    h.outcomes.clear();
  }
  EngineStatus status = h.engine.status();
  EXPECT_EQ(ledger.finished, submitted);
  EXPECT_TRUE(ledger.is_empty());
  EXPECT_FALSE(h.engine.has_work());
  EXPECT_EQ(status.kv_pages_free, status.kv_pages_total);
  EXPECT_EQ(status.swap_pages_free, status.swap_pages_total);
  EXPECT_EQ(ledger.waits.overtaken(), 0);
  // Once ripe, it waits at most for those who are open then, one token of one of them per step.
  i64 open_max = 3 * kWaitingMax + kRunningMax;
  EXPECT_LT(ledger.after_ripe_ns_max, open_max * kTokensMax * step_ns_max);
  // All of it happened.
  EXPECT_GT(by_priority, wanted / 100);
  EXPECT_GT(status.preemptions - by_priority, wanted / 500);
  EXPECT_GT(status.cached_tokens, wanted / 10);
  EXPECT_GT(status.swapped_tokens, wanted / 100);
  EXPECT_GT(status.drafts.accepted, wanted / 50);
  for (Finish reason : {Finish::kLength, Finish::kFunds, Finish::kCancelled, Finish::kError}) {
    EXPECT_GT(ledger.reasons[reason], wanted / 500);
  }
  RecordProperty("steps", static_cast<int>(status.steps));
  RecordProperty("worst_wait_after_ripe_us", static_cast<int>(ledger.after_ripe_ns_max / 1'000));
}

}  // namespace
}  // namespace tg::engine
