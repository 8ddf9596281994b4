// Both kinds of device alone: times, batches, caches, memory, faults, energy and funds; and how far
// the quick one is from the one that ships.
#include "sim/device.h"

#include <gtest/gtest.h>

#include <map>

#include "sim/scenario.h"

namespace tg::sim {
namespace {

DeviceModel quiet_device() {
  DeviceModel d = reference_device(1);
  d.noise = 0;
  return d;
}

// When each got its first and last token, in ns of a run that begins at 0.
struct Times {
  std::map<u64, i64> first;
  std::map<u64, i64> last;
  std::map<u64, i64> cached;
  std::map<u64, i64> output;
  std::vector<i64> steps;
  i64 end = 0;
};

// One step; false if there is nothing to do.
bool step(Device& device, Times& t) {
  i64 wall = device.begin_step(t.end);
  if (wall == 0) return false;
  t.end += wall;
  t.steps.push_back(wall);
  std::vector<u64> first;
  std::vector<DeviceFinish> finished;
  device.end_step(first, finished);
  for (u64 id : first) t.first[id] = t.end;
  for (const DeviceFinish& f : finished) {
    t.last[f.id] = t.end;
    t.cached[f.id] = f.cached_tokens;
    t.output[f.id] = f.output_tokens;
  }
  return true;
}

// Until it is idle.
Times play(Device& device) {
  Times t;
  while (step(device, t)) {
  }
  return t;
}

class AnyDevice : public testing::TestWithParam<EngineKind> {
 protected:
  std::unique_ptr<Device> make(const DeviceModel& model, u64 seed = 1) {
    return make_device(GetParam(), model, seed);
  }
  bool is_shipped() const { return GetParam() == EngineKind::kShipped; }
};

INSTANTIATE_TEST_SUITE_P(Devices, AnyDevice,
                         testing::Values(EngineKind::kShipped, EngineKind::kQuick),
                         [](const testing::TestParamInfo<EngineKind>& kind) {
                           return kind.param == EngineKind::kShipped ? "Shipped" : "Quick";
                         });

TEST_P(AnyDevice, OneRequestTakesWhatItsStepsTake) {
  DeviceModel model = quiet_device();
  std::unique_ptr<Device> device = make(model);
  ASSERT_TRUE(device->submit({.id = 1, .prompt_tokens = 1000, .output_tokens = 3}));
  Times t = play(*device);
  const fleet::StepEstimate& e = model.step;
  // The quick one counts no token's pair with itself.
  f64 pairs = is_shipped() ? 1000 * 1001 / 2 : 1000 * 500;
  f64 prefill = e.ns_per_step + 1000 * e.ns_per_token + e.ns_per_row + 1000 * e.ns_per_key +
                pairs * e.ns_per_pair;
  EXPECT_NEAR(static_cast<f64>(t.first[1]), prefill, 2);
  auto decode = [&](f64 keys) {
    return e.ns_per_step + e.ns_per_token + e.ns_per_row + keys * (e.ns_per_key + e.ns_per_pair);
  };
  EXPECT_NEAR(static_cast<f64>(t.last[1] - t.first[1]), decode(1001) + decode(1002), 4);
  EXPECT_EQ(t.output[1], 3);
  EXPECT_EQ(device->keys(), 0);
  EXPECT_EQ(device->open(), 0);
  EXPECT_EQ(device->busy_ns(), t.end);
}

TEST_P(AnyDevice, ABatchSharesSteps) {
  std::unique_ptr<Device> device = make(quiet_device());
  for (u64 id = 1; id <= 32; ++id) {
    device->submit({.id = id, .prompt_tokens = 100, .output_tokens = 100});
  }
  Times all = play(*device);
  std::unique_ptr<Device> alone = make(quiet_device());
  alone->submit({.id = 1, .prompt_tokens = 100, .output_tokens = 100});
  EXPECT_LT(all.end, 2 * play(*alone).end);
  EXPECT_EQ(all.last.size(), 32u);
}

TEST_P(AnyDevice, CachedPromptsAreNotComputedAgain) {
  std::unique_ptr<Device> device = make(quiet_device());
  std::vector<u64> blocks = {1, 2, 3, 4};
  device->submit({.id = 1, .prompt_tokens = 2100, .output_tokens = 2, .blocks = blocks});
  play(*device);
  device->submit({.id = 2, .prompt_tokens = 2100, .output_tokens = 2, .blocks = blocks});
  Times t = play(*device);
  EXPECT_EQ(t.cached[2], 2048);
  EXPECT_EQ(device->cached_tokens(), 2048);
  EXPECT_EQ(device->computed_tokens(), 2100 + 52);
  std::vector<u64> others = {1, 2, 5};
  device->submit({.id = 3, .prompt_tokens = 1600, .output_tokens = 2, .blocks = others});
  EXPECT_EQ(play(*device).cached[3], 1024);
}

TEST_P(AnyDevice, WithoutACacheNothingIsFound) {
  DeviceModel model = quiet_device();
  model.block_tokens = 0;
  std::unique_ptr<Device> device = make(model);
  std::vector<u64> blocks = {1, 2};
  for (u64 id : {1, 2}) {
    device->submit({.id = id, .prompt_tokens = 1100, .output_tokens = 2, .blocks = blocks});
    EXPECT_EQ(play(*device).cached[id], 0);
  }
  EXPECT_EQ(device->computed_tokens(), 2200);
}

TEST_P(AnyDevice, FullMemoryPreemptsAndLosesNothing) {
  DeviceModel model = quiet_device();
  model.keys_total = 3000;
  std::unique_ptr<Device> device = make(model);
  for (u64 id = 1; id <= 10; ++id) {
    device->submit({.id = id, .prompt_tokens = 300, .output_tokens = 900});
  }
  Times t;
  while (step(*device, t)) ASSERT_LE(device->keys(), model.keys_total);
  EXPECT_EQ(t.last.size(), 10u);
  for (const auto& [id, output] : t.output) EXPECT_EQ(output, 900) << id;
  EXPECT_GT(device->preemptions(), 0);
  EXPECT_GT(device->computed_tokens(), 10 * 300);
  EXPECT_EQ(device->keys(), 0);
}

TEST_P(AnyDevice, CancelledAndCrashed) {
  std::unique_ptr<Device> device = make(quiet_device());
  for (u64 id = 1; id <= 4; ++id) {
    device->submit({.id = id, .prompt_tokens = 100, .output_tokens = 50});
  }
  device->cancel(4);
  device->cancel(77);
  Times t;
  ASSERT_TRUE(step(*device, t));
  EXPECT_EQ(t.first.size(), 3u);
  device->cancel(2);
  EXPECT_EQ(device->open(), 2);
  EXPECT_EQ(device->produced(1), 1);
  EXPECT_EQ(device->produced(2), 0);
  // In the middle of a step, whose end is not heard.
  ASSERT_GT(device->begin_step(t.end), 0);
  std::vector<std::pair<u64, i64>> lost = device->crash();
  EXPECT_EQ(lost, (std::vector<std::pair<u64, i64>>{{1, 1}, {3, 1}}));
  EXPECT_EQ(device->open(), 0);
  EXPECT_EQ(device->begin_step(t.end), 0);
  i64 computed = device->computed_tokens();
  device->submit({.id = 9, .prompt_tokens = 100, .output_tokens = 1});
  play(*device);
  EXPECT_EQ(device->computed_tokens(), computed + 100);
}

TEST_P(AnyDevice, ASlowOneTakesLonger) {
  for (f64 slowness : {1.0, 3.0}) {
    std::unique_ptr<Device> device = make(quiet_device());
    device->set_slowness(slowness);
    device->submit({.id = 1, .prompt_tokens = 1000, .output_tokens = 30});
    Times t = play(*device);
    std::unique_ptr<Device> plain = make(quiet_device());
    plain->submit({.id = 1, .prompt_tokens = 1000, .output_tokens = 30});
    f64 times = static_cast<f64>(t.end) / static_cast<f64>(play(*plain).end);
    EXPECT_NEAR(times, slowness, 1e-4);
  }
}

TEST_P(AnyDevice, SameSeedSameTimes) {
  DeviceModel model = reference_device(1);
  model.keys_total = 6000;
  std::vector<u64> blocks = {1, 2};
  auto times = [&](u64 seed) {
    std::unique_ptr<Device> device = make(model, seed);
    for (u64 id = 1; id <= 20; ++id) {
      device->submit({.id = id,
                      .prompt_tokens = 1100,
                      .output_tokens = static_cast<i64>(20 * id),
                      .blocks = blocks});
    }
    return play(*device).steps;
  };
  EXPECT_EQ(times(5), times(5));
  EXPECT_NE(times(5), times(6));
}

// Through preemption, cancellation and a crash: what requests drew is what the meter shows.
TEST_P(AnyDevice, EnergyIsAllSomebodys) {
  DeviceModel model = quiet_device();
  model.keys_total = 3000;
  model.watts_busy = 500;
  std::unique_ptr<Device> device = make(model);
  for (u64 id = 1; id <= 10; ++id) {
    device->submit({.id = id, .prompt_tokens = 300, .output_tokens = static_cast<i64>(90 * id)});
  }
  i64 now = 0;
  std::vector<u64> first;
  std::vector<DeviceFinish> finished;
  for (int step = 0; step < 600; ++step) {
    i64 wall = device->begin_step(now);
    ASSERT_GT(wall, 0);
    if (step == 100) device->cancel(4);
    now += wall;
    device->end_step(first, finished);
  }
  EXPECT_GT(device->preemptions(), 0);
  device->crash();
  std::vector<Drawn> drawn;
  device->take_drawn(drawn);
  ASSERT_EQ(drawn.size(), 10u);
  f64 sum = 0;
  std::map<u64, f64> by_id;
  for (const Drawn& d : drawn) sum += by_id[d.id] = d.joules;
  f64 metered = 500e-9 * static_cast<f64>(device->busy_ns());
  EXPECT_NEAR(sum, metered, 1e-9 * metered);
  // The shipped engine divides a step by the work of its tokens, of which a prompt's are alike.
  EXPECT_GT(by_id[3], (is_shipped() ? 1.5 : 2.0) * by_id[1]);
  EXPECT_GT(by_id[1], 0.01 * metered);
  device->take_drawn(drawn);
  EXPECT_EQ(drawn.size(), 10u);
}

TEST_P(AnyDevice, EndsWhereItsFundsDo) {
  std::unique_ptr<Device> device = make(quiet_device());
  device->submit({.id = 1, .prompt_tokens = 100, .output_tokens = 50, .funded_tokens = 10});
  device->submit({.id = 2, .prompt_tokens = 100, .output_tokens = 50, .funded_tokens = 10});
  device->submit({.id = 3, .prompt_tokens = 100, .output_tokens = 50});
  Times t;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(*device, t));
  device->fund(1, 20, true);
  device->fund(2, 50, false);
  device->fund(77, 5, true);
  while (step(*device, t)) {
  }
  EXPECT_EQ(t.output, (std::map<u64, i64>{{1, 20}, {2, 50}, {3, 50}}));
  EXPECT_EQ(device->open(), 0);
}

// Only the engine that ships waits for more.
TEST(EngineDevice, WhoIsNotPaidForWaits) {
  std::unique_ptr<Device> device = make_device(EngineKind::kShipped, quiet_device(), 1);
  device->submit({.id = 1, .prompt_tokens = 100, .output_tokens = 50, .funded_tokens = 10});
  device->submit({.id = 2, .prompt_tokens = 100, .output_tokens = 50, .funded_tokens = 7});
  Times t = play(*device);
  EXPECT_TRUE(t.last.empty());
  EXPECT_EQ(device->produced(1), 10);
  EXPECT_EQ(device->waiting(), 2);
  i64 busy = device->busy_ns();
  device->fund(1, 30, false);
  while (step(*device, t)) {
  }
  EXPECT_EQ(device->produced(1), 30);
  EXPECT_GT(device->busy_ns(), busy);
  // Told that this was all, it ends without a step.
  busy = device->busy_ns();
  device->fund(1, 30, true);
  device->fund(2, 7, true);
  while (step(*device, t)) {
  }
  EXPECT_EQ(t.output, (std::map<u64, i64>{{1, 30}, {2, 7}}));
  EXPECT_EQ(device->busy_ns(), busy);
  EXPECT_EQ(device->open(), 0);
}

TEST(EngineDevice, MoreThanItsQueueTakesWaitBeforeIt) {
  std::unique_ptr<Device> device = make_device(EngineKind::kShipped, quiet_device(), 1);
  constexpr u64 kRequests = 1'500;
  for (u64 id = 1; id <= kRequests; ++id) {
    device->submit({.id = id, .prompt_tokens = 20, .output_tokens = 2});
  }
  EXPECT_EQ(device->waiting(), static_cast<i64>(kRequests));
  for (u64 id = 1'200; id < 1'300; ++id) device->cancel(id);
  EXPECT_EQ(device->open(), static_cast<i64>(kRequests) - 100);
  Times t = play(*device);
  EXPECT_EQ(t.last.size(), kRequests - 100);
  EXPECT_LT(t.first[1], t.first[700]);
  EXPECT_LT(t.first[700], t.first[1'400]);
}

TEST(EngineDevice, WhatNeverFitsIsNotTaken) {
  DeviceModel model = quiet_device();
  model.keys_total = 3'000;
  std::unique_ptr<Device> device = make_device(EngineKind::kShipped, model, 1);
  EXPECT_FALSE(device->submit({.id = 1, .prompt_tokens = 2'900, .output_tokens = 100}));
  EXPECT_TRUE(device->submit({.id = 2, .prompt_tokens = 2'900, .output_tokens = 20}));
  EXPECT_EQ(play(*device).output[2], 20);
}

// Beside many streams a step is longer than its target, and no longer than step_longest_ns.
TEST(EngineDevice, StepsBesideStreamsAreStretched) {
  DeviceModel model = quiet_device();
  model.step = {.ns_per_step = 13.4e6, .ns_per_token = 1.95e6, .ns_per_key = 500};
  model.step_tokens_max = 512;
  model.running_max = 64;
  model.step_target_ns = 100'000'000;
  model.step_longest_ns = 200'000'000;
  std::unique_ptr<Device> device = make_device(EngineKind::kShipped, model, 1);
  for (u64 id = 1; id <= 32; ++id) {
    device->submit({.id = id, .prompt_tokens = 20, .output_tokens = 300});
  }
  Times t;
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(step(*device, t));
  ASSERT_EQ(t.first.size(), 32u);
  device->submit({.id = 99, .prompt_tokens = 1'200, .output_tokens = 2});
  std::size_t before = t.steps.size();
  while (!t.first.contains(99)) ASSERT_TRUE(step(*device, t));
  i64 longest = *std::max_element(t.steps.begin() + static_cast<i64>(before), t.steps.end());
  EXPECT_GT(longest, 120'000'000);
  EXPECT_LT(longest, 210'000'000);
}

// Where nothing is scarce, the quick device is the shipped one.
TEST(Devices, AgreeOnLightTraffic) {
  struct Sum {
    f64 ttft = 0;
    f64 whole = 0;
    i64 busy_ns = 0;
  };
  auto serve = [](EngineKind kind) {
    std::unique_ptr<Device> device = make_device(kind, quiet_device(), 1);
    constexpr i64 kGapNs = 90'000'000;
    constexpr u64 kRequests = 200;
    Times t;
    Sum sum;
    u64 next = 0;
    while (next < kRequests || device->open() > 0) {
      while (next < kRequests && static_cast<i64>(next) * kGapNs <= t.end) {
        i64 prompt = 200 + static_cast<i64>(next * 7'919 % 1'500);
        i64 output = 20 + static_cast<i64>(next * 104'729 % 200);
        device->submit({.id = ++next, .prompt_tokens = prompt, .output_tokens = output});
      }
      if (!step(*device, t)) t.end = static_cast<i64>(next) * kGapNs;
    }
    for (const auto& [id, at] : t.first) sum.ttft += static_cast<f64>(at);
    for (const auto& [id, at] : t.last) sum.whole += static_cast<f64>(at);
    for (u64 i = 0; i < kRequests; ++i) {
      sum.ttft -= static_cast<f64>(static_cast<i64>(i) * kGapNs);
      sum.whole -= static_cast<f64>(static_cast<i64>(i) * kGapNs);
    }
    sum.busy_ns = device->busy_ns();
    return sum;
  };
  Sum shipped = serve(EngineKind::kShipped);
  Sum quick = serve(EngineKind::kQuick);
  EXPECT_NEAR(quick.ttft / shipped.ttft, 1, 0.03);
  EXPECT_NEAR(quick.whole / shipped.whole, 1, 0.03);
  EXPECT_NEAR(static_cast<f64>(quick.busy_ns) / static_cast<f64>(shipped.busy_ns), 1, 0.03);
}

}  // namespace
}  // namespace tg::sim
