#include "dispatch/replica_set.h"

#include <gtest/gtest.h>

#include <deque>

namespace tg::dispatch {
namespace {

constexpr i64 kSecond = 1'000'000'000;
using State = ReplicaState;
using Kind = ReplicaOrder::Kind;

ScaleSettings scale() {
  return {.work_per_replica_s = 10,
          .utilisation = 1,
          .window_s = 8,
          .panic_window_s = 2,
          .cold_start_ns = 7 * kSecond,
          .idle_ns = 5 * kSecond,
          .replicas_max = 6};
}

// Starts take `cold_s`, unless they are to fail; what drains is empty a second later.
class Launcher {
 public:
  Launcher(const ScaleSettings& scale, const ReplicaSettings& settings, i64 slots)
      : set(scale, settings, slots) {}

  // `per_second` requests of work 1 in each of `seconds` seconds, decisions ten times in each.
  void play(i64 seconds, i64 per_second) {
    for (i64 tenth = 0; tenth < 10 * seconds; ++tenth) {
      now_ns += kSecond / 10;
      for (i64 i = 0; i < per_second / 10; ++i) set.arrived(1, now_ns);
      std::vector<ReplicaOrder> orders;
      while (!coming.empty() && coming.front().first <= now_ns) {
        u32 slot = coming.front().second;
        coming.pop_front();
        if (fails)
          set.ended(slot, now_ns, "exit 1");
        else
          set.started(slot, now_ns, orders);
      }
      for (u32 i = 0; i < set.replicas().size(); ++i) {
        const ReplicaSet::Replica& r = set.replicas()[i];
        if (r.state == State::kDraining && now_ns - r.since_ns > kSecond) set.emptied(i);
        if (r.state == State::kEnding) set.ended(i, now_ns, "asked to");
      }
      decision = set.step(0, now_ns, orders);
      for (const ReplicaOrder& order : orders) {
        log.push_back(order);
        if (order.kind == Kind::kStart) coming.emplace_back(now_ns + cold_ns, order.slot);
      }
    }
  }
  i64 count(Kind kind) const {
    return std::count_if(log.begin(), log.end(), [&](auto& o) { return o.kind == kind; });
  }

  ReplicaSet set;
  i64 cold_ns = 2 * kSecond;
  bool fails = false;
  i64 now_ns = 100 * kSecond;
  ScaleDecision decision;
  std::vector<ReplicaOrder> log;
  std::deque<std::pair<i64, u32>> coming;
};

TEST(ReplicaSet, FollowsTheLoadAndGoesToZero) {
  Launcher l(scale(), {}, 6);
  l.play(5, 0);
  EXPECT_EQ(l.set.counts().ready + l.set.counts().starting, 0);
  EXPECT_EQ(l.set.cold_start_ns(), 7 * kSecond);
  l.play(20, 40);
  EXPECT_EQ(l.set.counts().ready, 4);
  EXPECT_NEAR(static_cast<f64>(l.set.cold_start_ns()), 2e9, 1.1e8);
  l.play(20, 0);
  ReplicaCounts c = l.set.counts();
  EXPECT_EQ(c.ready + c.starting + c.warm + c.draining + c.ending, 0);
  EXPECT_EQ(l.count(Kind::kStart), l.count(Kind::kEnd));
  EXPECT_EQ(l.count(Kind::kUse), l.count(Kind::kDrain));
}

TEST(ReplicaSet, NeverMoreThanTheMost) {
  Launcher l(scale(), {}, 6);
  l.play(30, 1'000);
  EXPECT_EQ(l.set.counts().ready, 6);
  EXPECT_EQ(l.count(Kind::kStart), 6);
}

TEST(ReplicaSet, WarmOnesAreUsedAtOnceAndMadeUpFor) {
  Launcher l(scale(), {.warm = 2}, 8);
  l.play(5, 0);
  EXPECT_EQ(l.set.counts().warm, 2);
  EXPECT_EQ(l.count(Kind::kUse), 0);
  l.play(2, 20);
  EXPECT_GE(l.set.counts().ready, 1);
  EXPECT_LE(l.set.replicas()[l.log[2].slot].started_ns, l.now_ns - 2 * kSecond);
  l.play(20, 20);
  EXPECT_EQ(l.set.counts().ready, 2);
  EXPECT_EQ(l.set.counts().warm, 2);
  // Emptied ones stay as warm ones where one is missing, and are not started for it.
  i64 starts = l.count(Kind::kStart);
  l.play(30, 0);
  EXPECT_EQ(l.set.counts().ready, 0);
  EXPECT_EQ(l.set.counts().warm, 2);
  EXPECT_EQ(l.count(Kind::kStart), starts);
}

TEST(ReplicaSet, OneThatDrainsIsTakenBack) {
  ReplicaSet set(scale(), {}, 6);
  set.begin_with(0, State::kReady);
  set.begin_with(1, State::kReady);
  std::vector<ReplicaOrder> orders;
  set.arrived(1, 100 * kSecond);
  set.step(0, 100 * kSecond, orders);
  EXPECT_EQ(orders, (std::vector<ReplicaOrder>{{Kind::kDrain, 1}}));
  orders.clear();
  for (int i = 0; i < 20; ++i) set.arrived(1, 101 * kSecond);
  set.step(0, 102 * kSecond, orders);
  EXPECT_EQ(orders, (std::vector<ReplicaOrder>{{Kind::kUse, 1}}));
}

TEST(ReplicaSet, ADeadOneIsReplaced) {
  Launcher l(scale(), {}, 6);
  l.play(30, 40);
  u64 starts = l.set.replicas()[2].starts;
  l.set.ended(2, l.now_ns, "signal 9");
  EXPECT_EQ(l.set.replicas()[2].last_error, "signal 9");
  l.play(1, 40);
  EXPECT_EQ(l.set.replicas()[2].state, State::kStarting);
  l.play(3, 40);
  EXPECT_EQ(l.set.replicas()[2].state, State::kReady);
  EXPECT_EQ(l.set.replicas()[2].starts, starts + 1);
  EXPECT_EQ(l.set.failures(), 1u);
}

TEST(ReplicaSet, StartsThatFailAreTriedLaterAndLater) {
  Launcher l(scale(), {.retry_ns = kSecond, .retry_ns_max = 8 * kSecond}, 1);
  l.fails = true;
  l.cold_ns = 0;
  l.play(60, 10);
  // After 1, 2, 4 and then every 8 seconds.
  EXPECT_GE(l.count(Kind::kStart), 8);
  EXPECT_LE(l.count(Kind::kStart), 11);
  EXPECT_EQ(l.set.replicas()[0].last_error, "exit 1");
  l.fails = false;
  l.play(30, 10);
  EXPECT_EQ(l.set.counts().ready, 1);
  // It has settled: the next failure is waited for as a first one.
  l.set.ended(0, l.now_ns, "signal 9");
  l.play(1, 10);
  EXPECT_EQ(l.set.counts().ready, 1);
}

TEST(ReplicaSet, AStartThatTakesTooLongIsGivenUp) {
  Launcher l(scale(), {.start_ns_max = 5 * kSecond}, 1);
  l.cold_ns = 100 * kSecond;
  l.play(7, 10);
  EXPECT_EQ(l.count(Kind::kEnd), 1);
  EXPECT_EQ(l.set.replicas()[0].last_error, "did not start in time");
  EXPECT_EQ(l.set.failures(), 1u);
}

}  // namespace
}  // namespace tg::dispatch
