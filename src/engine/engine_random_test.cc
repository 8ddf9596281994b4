// Random schedules against the one truth: whatever arrives when, is cancelled, is preempted or
// finds its prefix cached, each request says what it says alone, nothing leaks, and everything
// ends. A failure names its seed.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/harness.h"
#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::engine {
namespace {

constexpr u64 kSchedules = 10'000;

i64 between(SeededRandom& random, i64 least, i64 most) {
  return least + static_cast<i64>(random.below(static_cast<u64>(most - least + 1)));
}

isa::SamplingParams random_sampling(SeededRandom& random) {
  isa::SamplingParams params;
  params.logprobs = 0;
  params.temperature = random.below(3) == 0 ? 0.0f : static_cast<f32>(random.uniform() * 2 + 0.01);
  params.seed = random.next();
  if (random.below(3) == 0) params.top_k = static_cast<i32>(between(random, 1, 70));
  if (random.below(3) == 0) params.top_p = static_cast<f32>(random.uniform());
  if (random.below(4) == 0) params.min_p = static_cast<f32>(random.uniform() * 0.2);
  if (random.below(4) == 0) params.repetition_penalty = 1.3f;
  if (random.below(4) == 0) params.presence_penalty = 0.7f;
  if (random.below(4) == 0) params.frequency_penalty = -0.2f;
  if (random.below(5) == 0) params.logit_bias = {{3, 5.0f}, {9, -5.0f}};
  return params;
}

// Prompts share prefixes often, whole and in part, so that hits, twins and evictions all happen.
std::vector<i32> random_prompt(SeededRandom& random, i64 most) {
  i64 length = random.below(3) == 0 ? 4 * between(random, 1, most / 4) : between(random, 1, most);
  std::vector<i32> prompt = prompt_of(length, static_cast<i32>(random.below(2)));
  i64 shared = between(random, 0, length);
  for (i64 i = shared; i < length; ++i) prompt[i] = static_cast<i32>(random.below(64));
  return prompt;
}

EngineRequest random_request(SeededRandom& random, u64 id) {
  EngineRequest request{.id = id, .prompt = random_prompt(random, 28)};
  request.max_tokens = random.below(5) == 0 ? 1 : between(random, 1, 24);
  request.sampling = random_sampling(random);
  request.cache_salt = random.below(8) == 0 ? 1 : 0;
  request.priority = static_cast<Priority>(random.below(3));
  if (random.below(4) == 0) request.deadline_ns = between(random, 1, 400'000);
  if (random.below(4) == 0) request.funded_tokens = between(random, 1, request.max_tokens);
  for (u64 i = random.below(3); i > 0; --i) {
    request.stop_tokens.push_back(static_cast<i32>(random.below(64)));
  }
  return request;
}

bool is_masked(u64 id) {
  return id % 7 == 3;
}

Status submit(Harness& h, const EngineRequest& request) {
  if (!is_masked(request.id)) return h.submit(request);
  return h.submit(request, std::make_unique<RotatingMask>());
}

struct World {
  FakeExecutor::Shape device;
  EngineLimits limits;
  StepTime time;
};

World random_world(SeededRandom& random) {
  World world;
  // A request needs at most 28 + 23 keys: 13 blocks. The smallest pools hold hardly one of them.
  world.device = shape(random.below(3) == 0 ? between(random, 60, 200) : between(random, 13, 24));
  world.device.limits.sequences_max = between(random, 1, 12);
  world.device.limits.rows_max = between(random, 1, 24);
  world.device.limits.tokens_max = between(random, 1, 40);
  world.device.habit = random.below(2) == 0 ? 0 : 230;
  world.limits.running_max = between(random, 1, 16);
  world.limits.step_tokens_max = between(random, 1, 48);
  world.limits.waiting_max = 64;
  world.limits.prefix_cache = random.below(2) == 0;
  world.limits.prefix_seed = random.next();
  world.limits.step_target_ns = random.below(2) == 0 ? 0 : between(random, 1, 200'000);
  world.limits.preemptions_max = between(random, 0, 4);
  world.limits.output_guess = random.below(2) == 0 ? 0 : between(random, 0, 30);
  world.limits.draft_tokens_max = between(random, 0, 6);
  if (random.below(2) == 0) world.limits.funds_wait_ns = between(random, 1, 2'000'000);
  world.limits.funds_keep_ns = between(random, 0, 1'000'000);
  i64 patience_ns = between(random, 1, 300'000);
  world.limits.patience_ns = {patience_ns, 3 * patience_ns, 9 * patience_ns};
  world.time = {.ns_per_step = random.uniform() * 50'000, .ns_per_token = random.uniform() * 3'000};
  if (random.below(2) == 0) world.device.limits.swap_pages = between(random, 1, 30);
  return world;
}

// All of max_tokens is funded.
Outcome alone(EngineRequest request, u64 habit) {
  EngineLimits limits{.running_max = 1, .waiting_max = 1, .prefix_cache = false};
  FakeExecutor::Shape device = shape(16);
  device.habit = habit;
  Harness h(device, limits);
  request.funded_tokens = 0;
  EXPECT_TRUE(submit(h, request).ok());
  EXPECT_TRUE(h.finish_all(64));
  return h.outcomes[request.id];
}

void expect_same(const EngineRequest& request, const Outcome& outcome, u64 habit) {
  Outcome truth = alone(request, habit);
  const unit::Usage& usage = outcome.finish.usage;
  Finish reason = outcome.finish.reason;
  ASSERT_EQ(outcome.finishes, 1);
  ASSERT_EQ(usage.output_tokens, static_cast<i64>(outcome.tokens.size()));
  if (reason == Finish::kFunds) {
    ASSERT_EQ(usage.output_tokens, request.funded_tokens);
  }
  if (reason == Finish::kCancelled || reason == Finish::kFunds) {
    ASSERT_LE(outcome.tokens.size(), truth.tokens.size());
    truth.tokens.resize(outcome.tokens.size());
    truth.logprobs.resize(outcome.tokens.size());
    ASSERT_LE(usage.prompt_tokens, truth.finish.usage.prompt_tokens);
  } else {
    ASSERT_EQ(reason, truth.finish.reason) << outcome.finish.error;
    ASSERT_EQ(usage.prompt_tokens, static_cast<i64>(request.prompt.size()));
    ASSERT_LT(usage.cached_tokens, usage.prompt_tokens);
  }
  ASSERT_EQ(outcome.tokens, truth.tokens);
  ASSERT_EQ(outcome.logprobs, truth.logprobs);
}

struct Tally {
  u64 preemptions = 0;
  u64 by_priority = 0;
  u64 cached = 0;
  u64 cancelled = 0;
  u64 unfunded = 0;
  u64 accepted = 0;
  u64 rejected = 0;
  u64 swapped = 0;
};

void note_preemptions(const StepResult& result, const std::vector<EngineRequest>& requests,
                      i64 preemptions_max, Tally& tally) {
  for (const PreemptEvent& event : result.preempted) {
    ASSERT_EQ(event.priority, requests[event.request].priority);
    if (event.reason != PreemptReason::kPriority) continue;
    ++tally.by_priority;
    ASSERT_LT(requests[event.beneficiary].priority, event.priority);
    ASSERT_LE(event.preemptions, preemptions_max);
  }
}

void run_schedule(u64 seed, Tally& tally) {
  SeededRandom random(seed);
  World world = random_world(random);
  Harness h(world.device, world.limits);
  h.executor.time = world.time;
  std::vector<EngineRequest> requests;
  std::vector<i64> submitted_ns;
  u64 count = 1 + random.below(24);
  // Steps between arrivals: all at once, or spread out.
  u64 spread = random.below(4);
  bool cancels = random.below(2) == 0;
  i64 steps = 0;
  while (requests.size() < count || h.engine.has_work()) {
    while (requests.size() < count && random.below(spread + 1) == 0) {
      requests.push_back(random_request(random, requests.size()));
      ASSERT_TRUE(submit(h, requests.back()).ok());
      submitted_ns.push_back(h.clock.ns);
    }
    if (cancels && random.below(6) == 0) h.engine.cancel(random.below(count));
    if (!requests.empty() && random.below(4) == 0) {
      EngineRequest& paid = requests[random.below(requests.size())];
      i64 funds = between(random, 0, paid.max_tokens);
      if (h.engine.extend(paid.id, funds).ok() && paid.funded_tokens > 0) {
        paid.funded_tokens = std::max(paid.funded_tokens, funds);
      }
    }
    note_preemptions(h.step(), requests, world.limits.preemptions_max, tally);
    ASSERT_LT(++steps, 20'000) << "no progress";
  }
  EngineStatus status = h.engine.status();
  ASSERT_EQ(status.kv_pages_free, status.kv_pages_total);
  ASSERT_EQ(status.running + status.waiting, 0);
  ASSERT_EQ(h.attributed_ns(), h.wall_ns);
  u64 prompts = 0;
  u64 outputs = 0;
  WaitCheck waits;
  for (const EngineRequest& request : requests) {
    const FinishEvent& finish = h.outcomes[request.id].finish;
    expect_same(request, h.outcomes[request.id], world.device.habit);
    prompts += static_cast<u64>(finish.usage.prompt_tokens);
    outputs += static_cast<u64>(finish.usage.output_tokens);
    tally.cancelled += finish.reason == Finish::kCancelled ? 1 : 0;
    tally.unfunded += finish.reason == Finish::kFunds ? 1 : 0;
    if (finish.usage.steps == 0) continue;
    i64 patience_ns = world.limits.patience_ns[static_cast<std::size_t>(request.priority)];
    i64 wish_ns = request.deadline_ns == 0 ? patience_ns : request.deadline_ns;
    i64 at_ns = submitted_ns[request.id];
    waits.note(at_ns, at_ns + std::min(wish_ns, patience_ns) + patience_ns,
               at_ns + finish.usage.queue_ns);
  }
  ASSERT_EQ(waits.overtaken(), 0);
  ASSERT_EQ(status.prompt_tokens, prompts);
  ASSERT_EQ(status.output_tokens, outputs);
  if (!world.limits.prefix_cache) {
    // Every key is computed once, but for recomputation.
    ASSERT_EQ(status.cached_tokens, 0u);
  }
  ASSERT_EQ(status.swap_pages_free, status.swap_pages_total);
  tally.swapped += status.swapped_tokens;
  tally.preemptions += status.preemptions;
  tally.cached += status.cached_tokens;
  tally.accepted += status.drafts.accepted;
  tally.rejected += status.drafts.drafted - status.drafts.accepted;
}

TEST(EngineRandom, EveryScheduleSaysWhatEachRequestSaysAlone) {
  Tally tally;
  for (u64 seed = first_seed(); seed < first_seed() + kSchedules; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    run_schedule(seed, tally);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  // The schedules are worth something only if the hard things happened in them.
  EXPECT_GT(tally.preemptions, kSchedules / 4);
  EXPECT_GT(tally.swapped, kSchedules);
  EXPECT_GT(tally.by_priority, kSchedules / 8);
  EXPECT_GT(tally.unfunded, kSchedules / 8);
  EXPECT_GT(tally.accepted, kSchedules);
  EXPECT_GT(tally.rejected, kSchedules);
  EXPECT_GT(tally.cached, kSchedules * 4);
  EXPECT_GT(tally.cancelled, kSchedules / 4);
}

TEST(EngineRandom, StepBudgetNeverShowsInTheOutput) {
  for (u64 seed = first_seed(); seed < first_seed() + 40; ++seed) {
    std::map<u64, Outcome> first;
    for (i64 budget : {1, 2, 3, 5, 8, 13, 32, 64}) {
      SeededRandom random(seed);
      Harness h(shape(20), {.running_max = 8, .waiting_max = 64, .step_tokens_max = budget});
      for (u64 id = 0; id < 12; ++id) ASSERT_TRUE(submit(h, random_request(random, id)).ok());
      ASSERT_TRUE(h.finish_all());
      if (first.empty()) first = h.outcomes;
      for (const std::pair<const u64, Outcome>& o : first) {
        ASSERT_EQ(h.outcomes[o.first].tokens, o.second.tokens) << "seed " << seed;
        ASSERT_EQ(h.outcomes[o.first].finish.reason, o.second.finish.reason);
      }
    }
  }
}

}  // namespace
}  // namespace tg::engine
