#include "dispatch/autoscale.h"

#include <gtest/gtest.h>

namespace tg::dispatch {
namespace {

constexpr i64 kSecond = 1'000'000'000;

ScaleSettings settings() {
  return {.work_per_replica_s = 20, .utilisation = 0.8, .replicas_min = 0, .replicas_max = 5'000};
}

// `rate(second)` requests in every second from `from` to `until`.
template <typename Rate>
void arrive(Autoscaler& scaler, i64 from, i64 until, Rate rate) {
  for (i64 s = from; s < until; ++s) {
    i64 count = rate(s);
    for (i64 i = 0; i < count; ++i) scaler.arrived(1, s * kSecond + i * kSecond / count);
  }
}

TEST(Autoscaler, SteadyLoadNeedsWhatItNeeds) {
  Autoscaler scaler(settings());
  arrive(scaler, 0, 120, [](i64) { return 320; });
  ScaleDecision d = scaler.decide({.ready = 20}, 120 * kSecond);
  EXPECT_EQ(d.desired, 20);
  EXPECT_EQ(d.for_backlog, 0);
}

TEST(Autoscaler, AStepIsSeenWithinTwoSeconds) {
  Autoscaler scaler(settings());
  arrive(scaler, 0, 60, [](i64) { return 10; });
  EXPECT_EQ(scaler.decide({.ready = 1}, 60 * kSecond).desired, 1);
  arrive(scaler, 60, 62, [](i64) { return 10'000; });
  ScaleDecision d = scaler.decide({.ready = 1, .backlog = 19'000}, 62 * kSecond);
  EXPECT_TRUE(d.is_panic);
  // 625 for what comes, and no more than as many again for what waits.
  EXPECT_GE(d.desired, 625);
  EXPECT_LE(d.desired, 1250);
}

TEST(Autoscaler, DoesNotShrinkInAPanicAndDoesAfterIt) {
  Autoscaler scaler(settings());
  arrive(scaler, 0, 60, [](i64) { return 10; });
  arrive(scaler, 60, 70, [](i64) { return 1000; });
  i64 high = scaler.decide({.ready = 1}, 70 * kSecond).desired;
  arrive(scaler, 70, 100, [](i64) { return 10; });
  EXPECT_EQ(scaler.decide({.ready = 60}, 100 * kSecond).desired, high);
  arrive(scaler, 100, 300, [](i64) { return 10; });
  EXPECT_EQ(scaler.decide({.ready = 60}, 300 * kSecond).desired, 1);
}

TEST(Autoscaler, ARampIsFollowedAColdStartAhead) {
  Autoscaler scaler(settings());
  arrive(scaler, 0, 180, [](i64 s) { return 100 + s; });
  ScaleDecision d = scaler.decide({.ready = 20}, 180 * kSecond);
  // 280 a second now; in 60 seconds 340.
  EXPECT_NEAR(d.arriving_s, 340, 12);
}

TEST(Autoscaler, ToZeroAfterIdlenessAndBackForOneRequest) {
  ScaleSettings s = settings();
  s.idle_ns = 30 * kSecond;
  Autoscaler scaler(s);
  EXPECT_EQ(scaler.decide({}, 0).desired, 0);
  scaler.arrived(1, kSecond / 2);
  EXPECT_EQ(scaler.decide({.backlog = 1}, kSecond / 2).desired, 1);
  EXPECT_EQ(scaler.decide({.ready = 1}, 20 * kSecond).desired, 1);
  EXPECT_EQ(scaler.decide({.ready = 1}, 300 * kSecond).desired, 0);
}

TEST(Autoscaler, LimitsHold) {
  ScaleSettings s = settings();
  s.replicas_min = 2;
  s.replicas_max = 7;
  Autoscaler scaler(s);
  EXPECT_EQ(scaler.decide({}, 0).desired, 2);
  arrive(scaler, 0, 10, [](i64) { return 1000; });
  EXPECT_EQ(scaler.decide({.ready = 2}, 10 * kSecond).desired, 7);
}

TEST(Autoscaler, AShorterWindowForgetsSooner) {
  ScaleSettings s = settings();
  s.window_s = 8;
  s.panic_window_s = 2;
  s.idle_ns = 3 * kSecond;
  Autoscaler scaler(s);
  arrive(scaler, 0, 6, [](i64) { return 320; });
  EXPECT_EQ(scaler.decide({.ready = 20}, 6 * kSecond).desired, 20);
  EXPECT_GE(scaler.decide({.ready = 20}, 7 * kSecond).desired, 18);
  EXPECT_EQ(scaler.decide({.ready = 20}, 16 * kSecond).desired, 0);
}

TEST(Autoscaler, NewSettingsKeepWhatHasArrived) {
  Autoscaler scaler(settings());
  arrive(scaler, 0, 60, [](i64) { return 320; });
  ScaleSettings s = settings();
  s.replicas_max = 5;
  scaler.set_settings(s);
  EXPECT_EQ(scaler.decide({.ready = 20}, 60 * kSecond).desired, 5);
}

TEST(ReplicaPace, AsManyAtOnceAsTheTargetAllows) {
  fleet::StepEstimate step{.ns_per_step = 10e6, .ns_per_token = 1e6, .ns_per_row = 1e6};
  ReplicaPace pace = pace_of(step, 64, 50'000'000);
  EXPECT_EQ(pace.requests, 20);
  EXPECT_NEAR(pace.prompt_s, 0.001, 1e-9);
  EXPECT_NEAR(pace.output_s, 0.0025, 1e-9);
  // A second of a replica: 100 prompt tokens and 360 output tokens.
  EXPECT_NEAR(pace.work(100, 360), 1, 1e-9);
  EXPECT_EQ(pace_of(step, 8, 50'000'000).requests, 8);
  // Too slow for the target: one at a time is still served.
  EXPECT_EQ(pace_of(step, 8, 1'000'000).requests, 1);
}

}  // namespace
}  // namespace tg::dispatch
