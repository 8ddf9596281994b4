// Simulated requests on the shipped ledger: what they hold, are charged and cannot pay, alone and
// in a world with faults. Money::balance() asserts that all sums agree to the last nano-ST.
#include "sim/money.h"

#include <gtest/gtest.h>

#include "sim/report.h"
#include "sim/world.h"

namespace tg::sim {
namespace {

constexpr i64 kSecond = 1'000'000'000;
constexpr i64 kNano = 1'000'000'000;

// Ten standard tokens per output token, one per prompt token.
MoneyTerms simple_terms() {
  MoneyTerms terms;
  terms.prices = {};
  terms.prices[market::RatedClass::kUncachedInput] = 1'000'000 * kNano;
  terms.prices[market::RatedClass::kOutput] = 10'000'000 * kNano;
  return terms;
}

u128 st(i64 count) {
  return static_cast<u128>(count) * kNano;
}

TEST(Money, ARequestIsHeldSlicedChargedAndPaidOut) {
  MoneyTerms terms = simple_terms();
  terms.fee_ppm = 100'000;
  Money money(terms, 3);
  ASSERT_TRUE(
      money.open({.request = 0, .tenant = 4, .prompt_tokens = 100, .output_tokens = 900}, 0));
  EXPECT_EQ(money.edge(0).tokens, 256);
  EXPECT_FALSE(money.edge(0).is_final);
  EXPECT_EQ(money.delivered(0, 250, kSecond).tokens, 512);
  EXPECT_GT(money.delivered(0, 500, 2 * kSecond).tokens, 900);
  money.earned(0, 1, 300);
  money.earned(0, 2, 600);
  money.close(0, {.output_tokens = 900}, 3 * kSecond);
  MoneyResult r = money.balance();
  EXPECT_EQ(r.requests, 1);
  EXPECT_EQ(r.slices, 2);
  EXPECT_EQ(r.charged, st(9'100));
  EXPECT_EQ(r.fees, st(910));
  EXPECT_EQ(r.paid, st(8'190));
  EXPECT_EQ(r.unpaid, 0u);
  EXPECT_GT(r.released, 0u);
}

TEST(Money, WhoCannotPayIsRefusedOrCut) {
  MoneyTerms terms = simple_terms();
  terms.bundle_st = 1'000;
  Money money(terms, 1);
  EXPECT_FALSE(money.open({.request = 0, .prompt_tokens = 991, .output_tokens = 5}, 0));
  ASSERT_TRUE(money.open({.request = 1, .prompt_tokens = 500, .output_tokens = 100}, 0));
  EXPECT_EQ(money.edge(1).tokens, 50);
  Money::Edge edge = money.delivered(1, 49, kSecond);
  EXPECT_EQ(edge.tokens, 50);
  EXPECT_TRUE(edge.is_final);
  // All of it is held: nothing is left for another.
  EXPECT_FALSE(money.open({.request = 2, .prompt_tokens = 1, .output_tokens = 1}, kSecond));
  money.earned(1, 0, 50);
  money.close(1, {.output_tokens = 50, .cause = market::EndCause::kFundsEnd}, 2 * kSecond);
  MoneyResult r = money.balance();
  EXPECT_EQ(r.refused, 2);
  EXPECT_EQ(r.cut, 1);
  EXPECT_EQ(r.charged, st(1'000));
  EXPECT_EQ(r.left, 0u);
}

TEST(Money, ABudgetBindsBesideTheBundle) {
  MoneyTerms terms = simple_terms();
  terms.budget_st = 300;
  Money money(terms, 1);
  ASSERT_TRUE(money.open({.request = 0, .prompt_tokens = 100, .output_tokens = 100}, 0));
  EXPECT_EQ(money.edge(0).tokens, 20);
  money.earned(0, 0, 20);
  money.close(0, {.output_tokens = 20, .cause = market::EndCause::kFundsEnd}, kSecond);
  EXPECT_EQ(money.balance().charged, st(300));
}

TEST(Money, WhatWasNotServedIsNotCharged) {
  Money money(simple_terms(), 1);
  ASSERT_TRUE(money.open({.request = 0, .prompt_tokens = 100, .output_tokens = 100}, 0));
  // Holds outlast any wait, for they are renewed.
  for (i64 t = 0; t < 300; t += 10) money.delivered(0, 0, t * kSecond);
  money.close(0, {.cause = market::EndCause::kRefused}, 300 * kSecond);
  MoneyResult r = money.balance();
  EXPECT_EQ(r.charged, 0u);
  EXPECT_EQ(r.held, r.released);
}

// Delivered beyond what is held, as by a supplier that cannot wait: charged to nobody.
TEST(Money, WhatNobodyHeldForIsTheSellers) {
  MoneyTerms terms = simple_terms();
  terms.bundle_st = 600;
  Money money(terms, 1);
  ASSERT_TRUE(money.open({.request = 0, .prompt_tokens = 100, .output_tokens = 100}, 0));
  money.earned(0, 0, 60);
  money.close(0, {.output_tokens = 60}, kSecond);
  MoneyResult r = money.balance();
  EXPECT_EQ(r.charged, st(600));
  EXPECT_EQ(r.unpaid, st(100));
}

Trace traffic() {
  return generate({.seconds = 60, .rate = 8, .tenants = 10, .seed = 2});
}

TEST(WorldMoney, BalancesThroughFaults) {
  for (EngineKind kind : {EngineKind::kShipped, EngineKind::kQuick}) {
    Scenario scenario = mixed_pool(2, 2);
    scenario.engine = kind;
    scenario.money_mode = MoneyMode::kOn;
    scenario.money.fee_ppm = 30'001;
    scenario.faults.push_back({FaultKind::kCrash, 0, 15 * kSecond, 30 * kSecond, 1});
    scenario.faults.push_back({FaultKind::kPartition, 1, 20 * kSecond, 40 * kSecond, 1});
    Summary s = run(scenario, traffic()).summary;
    EXPECT_EQ(s.done, s.requests);
    EXPECT_GT(s.retried, 0);
    EXPECT_EQ(s.money.requests, s.requests);
    EXPECT_EQ(s.money.paid + s.money.fees, s.money.charged);
    EXPECT_EQ(s.money.held, s.money.charged + s.money.released);
    EXPECT_GT(s.money.charged, 0u);
    EXPECT_EQ(s.money.refused + s.money.cut, 0);
  }
}

// Nobody is served beyond their bundle, and with the engine that ships nobody serves for nothing.
TEST(WorldMoney, PoorTenantsAreRefusedAndCut) {
  Scenario scenario = mixed_pool(2, 2);
  scenario.money.bundle_st = 40'000;
  Summary s = run(scenario, traffic()).summary;
  EXPECT_GT(s.unfunded, 0);
  EXPECT_GT(s.cut, 0);
  EXPECT_EQ(s.cut, s.money.cut);
  EXPECT_EQ(s.unfunded, s.money.refused);
  EXPECT_EQ(s.done + s.unfunded, s.requests);
  EXPECT_EQ(s.money.unpaid, 0u);
  EXPECT_LE(s.money.charged, st(40'000) * static_cast<u128>(s.money.tenants));
  Cell cell{.policy = dispatch::Policy::kPredicted, .load = 1, .runs = {s}};
  EXPECT_NE(money_text({&cell, 1}).find("cut for lack of funds"), std::string::npos);
  EXPECT_NE(to_json(s).find("\"paid_to_suppliers_nst\":\""), std::string::npos);
}

// What is held is held at once and heard of later: first tokens come that much later, all is paid.
TEST(WorldMoney, TheLedgersLatencyIsAddedToTheFirstToken) {
  Scenario scenario = mixed_pool(4, 0);
  f64 before = run(scenario, traffic()).summary.ttft_mean;
  scenario.money.latency_ns = 300'000'000;
  Summary s = run(scenario, traffic()).summary;
  EXPECT_EQ(s.done, s.requests);
  EXPECT_EQ(s.money.unpaid, 0u);
  EXPECT_EQ(s.money.paid + s.money.fees, s.money.charged);
  EXPECT_NEAR(s.ttft_mean - before, 0.3, 0.03);
}

// Who has all of it held before the first token is served as if there were no money.
TEST(WorldMoney, GuaranteedRequestsAreServedAsWithoutMoney) {
  Scenario scenario = mixed_pool(2, 2);
  scenario.money.mode = market::HoldMode::kGuaranteed;
  std::string with = to_json(run(scenario, traffic()).suppliers);
  scenario.money_mode = MoneyMode::kOff;
  RunResult without = run(scenario, traffic());
  EXPECT_FALSE(without.summary.money.is_on);
  EXPECT_EQ(with, to_json(without.suppliers));
}

}  // namespace
}  // namespace tg::sim
