// Fair shares of a supplier's capacity: by weight, without starvation, whatever the costs.
#include "gateway/access/fair_queue.h"

#include <gtest/gtest.h>

#include <map>

#include "env/random.h"
#include "env/seed_testing.h"

namespace tg::gateway {
namespace {

using fleet::ServiceClass;

TEST(FairQueueTest, OneTenantIsFirstComeFirstServed) {
  FairQueue queue;
  for (u64 id = 1; id <= 5; ++id) queue.push(id, {}, static_cast<i64>(100 * id));
  for (u64 id = 1; id <= 5; ++id) EXPECT_EQ(queue.pop(), id);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(FairQueueTest, AFloodDoesNotDelayTheNeighbour) {
  FairQueue queue;
  for (u64 id = 1; id <= 1'000; ++id) queue.push(id, {.organisation = 1}, 10);
  queue.push(2'000, {.organisation = 2}, 10);
  EXPECT_EQ(queue.pop(), 1u);
  EXPECT_EQ(queue.pop(), 2'000u);
}

TEST(FairQueueTest, ProjectsShareWhatTheirOrganisationGets) {
  FairQueue queue;
  // Ten projects of one organisation against one of another: half each.
  for (u64 id = 0; id < 1'000; ++id) {
    queue.push(id, {.organisation = 1, .project = id % 10}, 10);
    queue.push(10'000 + id, {.organisation = 2}, 10);
  }
  i64 second = 0;
  for (int i = 0; i < 600; ++i) second += *queue.pop() >= 10'000 ? 1 : 0;
  EXPECT_NEAR(static_cast<f64>(second), 300, 2);
}

TEST(FairQueueTest, ErasedEntriesAreNotServed) {
  FairQueue queue;
  queue.push(1, {.organisation = 1}, 10);
  queue.push(2, {.organisation = 2}, 10);
  EXPECT_TRUE(queue.erase(1));
  EXPECT_FALSE(queue.erase(1));
  EXPECT_EQ(queue.pop(), 2u);
  EXPECT_TRUE(queue.empty());
  queue.charge({.organisation = 2}, 5);
}

TEST(FairQueueTest, WhoTookMoreThanSaidWaitsLonger) {
  FairQueue queue;
  std::map<u64, i64> served;
  u64 id = 1;
  auto refill = [&](u64 organisation) {
    queue.push(id++ * 2 + organisation, {.organisation = organisation}, 10);
  };
  for (int i = 0; i < 20; ++i) {
    refill(0);
    refill(1);
  }
  // Requests of organisation 1 always turn out three times as long.
  for (int i = 0; i < 4'000; ++i) {
    u64 organisation = *queue.pop() % 2;
    served[organisation] += organisation == 1 ? 30 : 10;
    refill(organisation);
    if (organisation == 1) queue.charge({.organisation = 1}, 20);
  }
  EXPECT_NEAR(static_cast<f64>(served[0]) / static_cast<f64>(served[1]), 1, 0.05);
}

// Random tenants that always wait: shares by weight within a few turns, at every level.
TEST(FairQueueTest, SharesFollowWeights) {
  u64 seed = first_seed();
  for (u64 round = 0; round < 20; ++round) {
    SCOPED_TRACE(seed + round);
    SeededRandom random(seed + round);
    struct Tenant {
      FairTenant tenant;
      i64 served = 0;
      i64 waiting = 0;
    };
    std::vector<Tenant> tenants;
    i64 organisations = 2 + static_cast<i64>(random.below(4));
    i64 weight_sum = 0;
    std::map<u64, i64> project_weights;
    for (u64 o = 1; o <= static_cast<u64>(organisations); ++o) {
      i64 weight = 1 + static_cast<i64>(random.below(5));
      weight_sum += weight;
      u64 projects = 1 + random.below(3);
      for (u64 p = 1; p <= projects; ++p) {
        i64 own = 1 + static_cast<i64>(random.below(3));
        project_weights[o] += own;
        tenants.push_back({.tenant = {.organisation = o,
                                      .project = p,
                                      .organisation_weight = weight,
                                      .project_weight = own}});
      }
    }
    FairQueue queue;
    std::map<u64, std::pair<std::size_t, i64>> open;
    u64 id = 1;
    constexpr i64 kCostMax = 1'000;
    auto refill = [&](std::size_t index) {
      i64 cost = 1 + static_cast<i64>(random.below(kCostMax));
      open[id] = {index, cost};
      queue.push(id++, tenants[index].tenant, cost);
    };
    for (std::size_t i = 0; i < tenants.size(); ++i) {
      for (int k = 0; k < 3; ++k) refill(i);
    }
    i64 total = 0;
    for (int i = 0; i < 20'000; ++i) {
      auto [index, cost] = open[*queue.pop()];
      tenants[index].served += cost;
      total += cost;
      refill(index);
    }
    for (const Tenant& t : tenants) {
      f64 share = static_cast<f64>(t.tenant.organisation_weight) / static_cast<f64>(weight_sum) *
                  static_cast<f64>(t.tenant.project_weight) /
                  static_cast<f64>(project_weights[t.tenant.organisation]);
      // One turn of every level in either direction.
      f64 turn = 3.0 * kCostMax *
                 static_cast<f64>(t.tenant.organisation_weight * t.tenant.project_weight + 5);
      EXPECT_NEAR(static_cast<f64>(t.served), share * static_cast<f64>(total), turn);
    }
  }
}

// However much of the better classes arrives, what waits is served: with three classes and costs up
// to C, before 21 rounds of turns have passed.
TEST(FairQueueTest, NobodyStarves) {
  u64 seed = first_seed();
  for (u64 round = 0; round < 20; ++round) {
    SCOPED_TRACE(seed + round);
    SeededRandom random(seed + round);
    FairQueue queue;
    u64 id = 1;
    auto flood = [&] {
      queue.push(
          id++,
          {.service = random.below(2) == 0 ? ServiceClass::kInteractive : ServiceClass::kStandard,
           .organisation = random.below(5)},
          1 + static_cast<i64>(random.below(100)));
    };
    for (int i = 0; i < 200; ++i) flood();
    constexpr u64 kBatch = 1'000'000;
    queue.push(kBatch, {.service = ServiceClass::kBatch, .organisation = 99}, 100);
    i64 pops = 0;
    for (;; ++pops) {
      ASSERT_LT(pops, 21 * 100);
      if (*queue.pop() == kBatch) break;
      flood();
    }
  }
}

TEST(FairQueueTest, ClassesShareSixteenFourOne) {
  FairQueue queue;
  std::map<u64, i64> served;
  for (u64 id = 0; id < 3'000; ++id) {
    queue.push(id, {.service = static_cast<ServiceClass>(id % 3)}, 7);
  }
  for (int i = 0; i < 630; ++i) ++served[*queue.pop() % 3];
  EXPECT_NEAR(static_cast<f64>(served[0]), 480, 17);
  EXPECT_NEAR(static_cast<f64>(served[1]), 120, 5);
  EXPECT_NEAR(static_cast<f64>(served[2]), 30, 2);
}

}  // namespace
}  // namespace tg::gateway
