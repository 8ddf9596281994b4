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

TEST(Autoscaler, MetricsForOthers) {
  ScaleDecision d{
      .desired = 5, .is_panic = true, .arriving_s = 10, .for_arrivals = 4, .for_backlog = 1};
  EXPECT_EQ(to_metrics_json("p\"1", d),
            R"({"pool":"p\"1","desired_replicas":5,"panic":true,"work_per_second":10,)"
            R"("for_arrivals":4,"for_backlog":1})");
  EXPECT_NE(
      to_prometheus("p\"1", d, {.ready = 3}).find("tokengrid_ready_replicas{pool=\"p\\\"1\"} 3"),
      std::string::npos);
}

}  // namespace
}  // namespace tg::dispatch
