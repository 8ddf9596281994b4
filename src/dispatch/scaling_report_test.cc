#include "dispatch/scaling_report.h"

#include <gtest/gtest.h>

namespace tg::dispatch {
namespace {

ScalingReport report() {
  ScalingReport r;
  r.pool = "p\"1";
  r.decision = {.desired = 5,
                .is_panic = true,
                .arriving_s = 3.2,
                .long_s = 1,
                .short_s = 3.2,
                .for_arrivals = 4,
                .for_backlog = 1};
  r.counts = {.starting = 2, .warm = 1, .ready = 3};
  r.replicas_max = 8;
  r.requests_waiting = 7;
  r.backlog = 2.5;
  r.cold_start_s = 1.5;
  r.replicas.push_back({.name = "auto-1", .state = ReplicaState::kReady, .process = 17});
  return r;
}

TEST(ScalingReport, SaysWhy) {
  EXPECT_EQ(reason_of(report()),
            "3.200 replica seconds of work arrive per second (1.000 over the long window, 3.200 of "
            "late): 4 for them, 1 for 7 requests that wait (2.500 replica seconds); panic: nothing "
            "is taken away");
  ScalingReport capped = report();
  capped.decision.desired = capped.replicas_max = 2;
  EXPECT_NE(reason_of(capped).find(", at most 2"), std::string::npos);
  ScalingReport idle;
  idle.decision.desired = 1;
  EXPECT_NE(reason_of(idle).find(", one until it has been idle"), std::string::npos);
}

TEST(ScalingReport, JsonForKedaAndPeople) {
  std::string json = to_json(report());
  EXPECT_TRUE(json.starts_with(R"({"object":"autoscale","pool":"p\"1","desired_replicas":5,)"))
      << json;
  EXPECT_NE(json.find(R"({"name":"auto-1","state":"ready","seconds":0,"process":17,)"),
            std::string::npos)
      << json;
}

TEST(ScalingReport, MetricsHaveThePoolAsTheirOnlyLabel) {
  std::string text = to_prometheus(report());
  EXPECT_NE(text.find("tokengrid:autoscale_ready_replicas{pool=\"p\\\"1\"} 3\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("tokengrid:autoscale_cold_start_seconds{pool=\"p\\\"1\"} 1.5\n"),
            std::string::npos);
  EXPECT_EQ(text.find("auto-1"), std::string::npos);
}

}  // namespace
}  // namespace tg::dispatch
