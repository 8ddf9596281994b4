// Scenes of one request, told step by step. The interleavings of many are in
// request_life_simulation_test.cc.
#include "market/lifecycle/request_life.h"

#include <gtest/gtest.h>

#include "market/lifecycle/life_testing.h"

namespace tg::market {
namespace {

using meter::Outcome;

// 2 per prompt token, 10 per output token.
PriceVector simple_prices() {
  PriceVector prices;
  prices[RatedClass::kUncachedInput] = 2'000'000;
  prices[RatedClass::kCachedInput] = 500'000;
  prices[RatedClass::kOutput] = 10'000'000;
  prices[RatedClass::kReasoning] = 10'000'000;
  return prices;
}

struct Scene {
  explicit Scene(u128 funds, LifeTerms terms, i64 prompt = 100, i64 output_max = 1'000)
      : life(with_parties(std::move(terms)),
             *RequestRate::make(nullptr, simple_prices(), prompt, output_max)) {
    world.add_bundle(10, funds);
  }
  static LifeTerms with_parties(LifeTerms terms) {
    terms.hold = {.request = 77, .seller = LedgerWorld::kSeller};
    return terms;
  }
  RequestLife::View view() {
    funding = world.view();
    return {.funding = funding, .now = world.now};
  }
  // Lets the ledger answer until nothing is under way.
  void settle(Chain chain) {
    while (!chain.empty()) {
      std::vector<ledger::TransferStatus> statuses = world.apply(chain);
      chain = life.answer(statuses, view());
    }
  }
  void open() { settle(life.open(view())); }
  void deliver(i64 tokens) { settle(life.delivered({.output = tokens}, view())); }
  void end(EndCause cause) { settle(life.end(cause, view())); }

  LedgerWorld world;
  FundingView funding;
  RequestLife life;
};

LifeTerms sliced(i64 max_cost = 100'000) {
  return {.mode = HoldMode::kSliced, .max_cost = max_cost, .slice_min = 400};
}

TEST(RequestLife, QuoteSaysWhatItMayCostInBothViews) {
  RequestRate rate = *RequestRate::make(nullptr, simple_prices(), 100, 1'000);
  LifeQuote quote = quote_life(sliced(5'000), rate, 50, Timestamp{1'000});
  EXPECT_EQ(quote.input, 200);
  EXPECT_EQ(quote.expected, 700);
  EXPECT_EQ(quote.maximum, 10'200);
  EXPECT_EQ(quote.first_hold, 600);
  EXPECT_EQ(quote.edge_max, 480);
  EXPECT_EQ(quote.expires.ns, 1'000 + kQuoteValidNs);
  EXPECT_EQ(quote.views.per_million_tokens, 4'666'667);  // 700 for 150 tokens.
  EXPECT_FALSE(quote.views.per_mst);                     // No cost matrix, no work.
}

TEST(RequestLife, SlicedHoldsInputAndOneSlice) {
  Scene scene(10'000, sliced());
  scene.open();
  EXPECT_EQ(scene.life.authorised(), 200 + 400);
  EXPECT_EQ(scene.life.edge(), 40);
  scene.deliver(29);
  EXPECT_EQ(scene.life.slices(), 0u);
  scene.deliver(30);  // A quarter of the slice is left.
  EXPECT_EQ(scene.life.slices(), 1u);
  EXPECT_EQ(scene.life.posted(), 300);  // Output alone; the input waits for the outcome.
  EXPECT_EQ(scene.life.edge(), 80);
  scene.deliver(50);
  scene.end(EndCause::kStop);
  EXPECT_EQ(scene.life.outcome(), Outcome::kCompleted);
  EXPECT_EQ(scene.life.charge(), 200 + 500);
  EXPECT_EQ(scene.world.available(10), 10'000u - 700);
  EXPECT_EQ(scene.world.machine.pending_count(), 0);
}

// I-12: the same request in slices of any size costs the same.
TEST(RequestLife, I12SlicesDoNotChangeTheCharge) {
  for (i64 slice : {1, 7, 400, 100'000}) {
    LifeTerms terms = sliced();
    terms.slice_min = slice;
    Scene scene(50'000, terms);
    scene.open();
    for (i64 tokens = 1; tokens <= 333; ++tokens) scene.deliver(tokens);
    scene.end(EndCause::kLength);
    EXPECT_EQ(scene.life.charge(), 200 + 3'330) << slice;
  }
}

TEST(RequestLife, StopsAtTheEdgeWhenFundsEnd) {
  Scene scene(905, sliced());
  scene.open();
  i64 delivered = 0;
  while (!scene.life.is_closed() && delivered < 1'000)
    scene.deliver(delivered = std::min(delivered + 1, scene.life.edge()));
  EXPECT_EQ(scene.life.outcome(), Outcome::kBudget);
  EXPECT_EQ(delivered, 70);
  EXPECT_EQ(scene.life.charge(), 900);
  EXPECT_EQ(scene.world.available(10), 5u);
}

// I-13: max_cost is hard although the account has more.
TEST(RequestLife, I13StopsAtMaxCost) {
  Scene scene(1'000'000, sliced(457));
  scene.open();
  EXPECT_EQ(scene.life.authorised(), 457);
  i64 delivered = 0;
  while (!scene.life.is_closed() && delivered < 1'000)
    scene.deliver(delivered = std::min(delivered + 1, scene.life.edge()));
  EXPECT_EQ(scene.life.outcome(), Outcome::kBudget);
  EXPECT_EQ(scene.life.charge(), 450);
}

TEST(RequestLife, RefusesWhatCannotPayOneToken) {
  Scene poor(209, sliced());
  poor.open();
  EXPECT_TRUE(poor.life.is_closed());
  EXPECT_EQ(poor.life.outcome(), Outcome::kRejected);
  Scene capped(10'000, sliced(209));
  capped.open();
  EXPECT_EQ(capped.life.outcome(), Outcome::kRejected);
  Scene just(210, sliced());
  just.open();
  EXPECT_EQ(just.life.edge(), 1);
}

TEST(RequestLife, GuaranteedHoldsEverythingOrNothing) {
  LifeTerms terms = {.mode = HoldMode::kGuaranteed, .max_cost = 100'000};
  Scene poor(10'199, terms);
  poor.open();
  EXPECT_EQ(poor.life.outcome(), Outcome::kRejected);
  Scene rich(10'200, terms);
  rich.open();
  EXPECT_EQ(rich.life.edge(), 1'000);
  rich.deliver(3);
  EXPECT_EQ(rich.life.slices(), 0u);
  rich.end(EndCause::kStop);
  EXPECT_EQ(rich.life.charge(), 230);
  EXPECT_EQ(rich.world.available(10), 10'200u - 230);
}

TEST(RequestLife, BestEffortRunsAheadAtTheSellersRisk) {
  LifeTerms terms = {.mode = HoldMode::kBestEffort, .max_cost = 100'000, .slice_min = 400};
  Scene scene(500, terms);
  scene.open();
  EXPECT_EQ(scene.life.authorised(), 200);
  EXPECT_EQ(scene.life.edge(), 1'000);
  scene.deliver(60);  // Worth 800; 500 are there.
  EXPECT_EQ(scene.life.authorised(), 500);
  scene.deliver(61);
  EXPECT_TRUE(scene.life.is_closed());
  EXPECT_EQ(scene.life.outcome(), Outcome::kBudget);
  EXPECT_EQ(scene.life.charge(), 500);
}

// I-14: the outcome table, each row once. Input 200, 10 per token.
TEST(RequestLife, I14OutcomesChargeByTheTable) {
  struct Row {
    EndCause cause;
    i64 delivered;
    Outcome outcome;
    i64 charge;
  };
  const Row rows[] = {
      {EndCause::kStop, 20, Outcome::kCompleted, 400},
      {EndCause::kLength, 20, Outcome::kLength, 400},
      {EndCause::kAbort, 20, Outcome::kBuyerAbort, 400},
      {EndCause::kAbort, 0, Outcome::kBuyerAbort, 0},
      {EndCause::kFault, 20, Outcome::kSellerFault, 200},
      {EndCause::kFault, 0, Outcome::kSellerFault, 0},
      {EndCause::kPreempted, 20, Outcome::kPreempted, 400},
      {EndCause::kPreempted, 0, Outcome::kPreempted, 0},
      {EndCause::kDeadline, 0, Outcome::kExpired, 0},
      {EndCause::kDeadline, 20, Outcome::kBuyerAbort, 400},
      {EndCause::kStop, 0, Outcome::kEmpty, 0},
      {EndCause::kLength, 0, Outcome::kEmpty, 0},
  };
  for (const Row& row : rows) {
    Scene scene(10'000, sliced());
    scene.open();
    if (row.delivered > 0) scene.deliver(row.delivered);
    scene.end(row.cause);
    ASSERT_TRUE(scene.life.is_closed());
    EXPECT_EQ(scene.life.outcome(), row.outcome) << name(row.cause) << row.delivered;
    EXPECT_EQ(scene.life.charge(), row.charge) << name(row.cause) << row.delivered;
    EXPECT_EQ(scene.world.machine.pending_count(), 0);
  }
}

TEST(RequestLife, TheFirstCauseStandsExceptAfterAnEndOfItsOwn) {
  EXPECT_EQ(prevailing(EndCause::kAbort, EndCause::kFault), EndCause::kAbort);
  EXPECT_EQ(prevailing(EndCause::kFault, EndCause::kAbort), EndCause::kFault);
  EXPECT_EQ(prevailing(EndCause::kStop, EndCause::kAbort), EndCause::kAbort);
  EXPECT_EQ(prevailing(EndCause::kStop, EndCause::kLength), EndCause::kStop);
  EXPECT_EQ(prevailing(EndCause::kNone, EndCause::kStop), EndCause::kStop);
}

TEST(RequestLife, CachedInputIsChargedAsItWasServed) {
  Scene scene(10'000, sliced());
  scene.open();
  EXPECT_EQ(scene.life.authorised(), 600);  // As if nothing were cached.
  scene.life.input_read({.prompt = 100, .cached = 80});
  scene.deliver(10);
  scene.end(EndCause::kStop);
  scene.life.input_read({.prompt = 100, .cached = 100});  // Too late.
  EXPECT_EQ(scene.life.charge(), 20 * 2 + 40 + 100);
}

TEST(RequestLife, HoldsAreRenewedAndALapsedOneIsTheSellersLoss) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.deliver(5);
  scene.world.now.ns += kHoldRenewNs;
  scene.settle(scene.life.tick(scene.view()));
  EXPECT_EQ(scene.life.slices(), 1u);
  EXPECT_EQ(scene.life.posted(), 50);
  EXPECT_EQ(scene.life.edge(), 40);
  scene.deliver(9);
  scene.world.now.ns += 2 * kHoldRenewNs;  // Nobody ticked: the ledger has released it.
  scene.end(EndCause::kStop);
  EXPECT_TRUE(scene.life.is_closed());
  EXPECT_TRUE(scene.life.has_lapsed());
  EXPECT_EQ(scene.life.outcome(), Outcome::kSellerFault);
  EXPECT_EQ(scene.life.charge(), 50);
  EXPECT_EQ(scene.world.available(10), 9'950u);
}

// Money.md §5.4, 4: at the quarter hour the price doubles; what was produced keeps its own.
TEST(RequestLife, ANewPriceHoldsFromItsReadingOn) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.settle(scene.life.produced({.output = 20}, scene.view()));
  scene.deliver(10);
  PriceVector dearer = simple_prices();
  dearer[RatedClass::kUncachedInput] *= 2;
  dearer[RatedClass::kOutput] *= 2;
  dearer[RatedClass::kReasoning] *= 2;
  scene.settle(scene.life.reprice(dearer, 9, scene.view()));
  EXPECT_EQ(scene.life.edge(), 30);  // The 200 that were left buy ten tokens, not twenty.
  scene.deliver(25);
  EXPECT_GT(scene.life.edge(), 30);
  scene.end(EndCause::kStop);
  EXPECT_EQ(scene.life.charge(), 200 + 20 * 10 + 5 * 20);
}

TEST(RequestLife, BurnsSeveralBundlesInOrderAndRefundsInReverse) {
  Scene scene(1'000, sliced());
  scene.world.add_bundle(9, 150, {.priority = 1});  // Before 10 by id, after it by priority.
  scene.world.add_bundle(11, 250, {.expires_ns = scene.world.now.ns + 1'000'000'000'000});
  scene.open();
  scene.deliver(30);
  scene.deliver(60);
  scene.end(EndCause::kStop);
  EXPECT_EQ(scene.life.charge(), 800);
  EXPECT_EQ(scene.world.available(11), 0u);  // Expires, so it burns first.
  EXPECT_EQ(scene.world.available(10), 450u);
  EXPECT_EQ(scene.world.available(9), 150u);
  Charged charged = scene.life.paid();
  EXPECT_EQ(charged.draws, (std::vector<Draw>{{11, 250}, {10, 550}}));
  Result<Chain> refund = refund_chain(charged, 600, 0);
  ASSERT_TRUE(refund.ok());
  scene.world.apply(*refund);
  EXPECT_EQ(scene.world.available(10), 1'000u);  // Last burned, first refunded (I-18).
  EXPECT_EQ(scene.world.available(11), 50u);
}

// Public bugs, gateways.md §4.

// LiteLLM #34732, #35567, #40095: checked, then added: concurrent requests pass one budget.
TEST(Regression, ConcurrentRequestsCannotPassABudget) {
  LedgerWorld world;
  world.add_bundle(10, 1'000'000);
  world.add_limit(1'000);
  FundingView stale = world.view();  // All of them saw the whole budget.
  i64 admitted = 0;
  for (u128 request = 1; request <= 8; ++request) {
    LifeTerms terms = {.mode = HoldMode::kGuaranteed, .max_cost = 300};
    terms.hold = {.request = request, .seller = LedgerWorld::kSeller};
    RequestLife life(terms, *RequestRate::make(nullptr, simple_prices(), 100, 10));
    Chain chain = life.open({.funding = stale, .now = world.now});
    while (!chain.empty()) {
      std::vector<ledger::TransferStatus> statuses = world.apply(chain);
      FundingView fresh = world.view();
      chain = life.answer(statuses, {.funding = fresh, .now = world.now});
    }
    admitted += life.state() == RequestLife::State::kOpen ? 1 : 0;
  }
  EXPECT_EQ(admitted, 3);
}
// LiteLLM PR #27509, #38647: a reservation without max_tokens took the whole headroom.
TEST(Regression, ALongRequestDoesNotPinTheBudget) {
  Scene scene(10'000, sliced(), 100, 100'000);
  scene.open();
  EXPECT_EQ(scene.world.available(10), 10'000u - 600);
}
// LiteLLM #30522, new-api #4429: a cancelled or crashed request leaked its reservation.
TEST(Regression, ACancelBeforeTheFirstTokenLeaksNothing) {
  Scene scene(10'000, sliced());
  Chain hold = scene.life.open(scene.view());
  EXPECT_TRUE(scene.life.end(EndCause::kAbort, scene.view()).empty());  // Cancelled in between.
  scene.settle(hold);
  EXPECT_TRUE(scene.life.is_closed());
  EXPECT_EQ(scene.life.charge(), 0);
  EXPECT_EQ(scene.world.available(10), 10'000u);
}
TEST(Regression, ACrashLeaksNothingAndChargesOnlyWhatWasDelivered) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.deliver(30);
  Chain recovery = recovery_chain(77, scene.world.machine.pending_transfers());
  EXPECT_EQ(recovery.size(), 1u);
  scene.world.apply(recovery);
  EXPECT_EQ(scene.world.machine.pending_count(), 0);
  EXPECT_EQ(scene.world.available(10), 10'000u - 300);
}
// new-api #4168, Routstr #274: the prompt was billed when nothing was delivered.
TEST(Regression, NothingDeliveredChargesNothing) {
  for (EndCause cause : {EndCause::kStop, EndCause::kFault, EndCause::kAbort}) {
    Scene scene(10'000, sliced());
    scene.open();
    scene.end(cause);
    EXPECT_EQ(scene.life.charge(), 0);
  }
}
// eliza #11561, llmgateway GHSA-724j-f2pf-phf7, new-api #5235: read, then close, was free.
TEST(Regression, AnAbortPaysForWhatWasDelivered) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.deliver(12);
  scene.settle(scene.life.produced({.output = 25}, scene.view()));
  scene.end(EndCause::kAbort);
  EXPECT_EQ(scene.life.charge(), 200 + 120);  // Not the 13 that were still under way.
}
// new-api #7486: a second charge on a retry. The ledger's answer was lost, the chain is sent again.
TEST(Regression, ARepeatedChainChargesOnce) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.deliver(12);
  Chain close = scene.life.end(EndCause::kStop, scene.view());
  scene.world.apply(close);
  scene.world.apply(close);
  scene.settle(scene.life.in_flight());
  EXPECT_EQ(scene.life.charge(), 320);
  EXPECT_EQ(scene.world.available(10), 10'000u - 320);
}
// llmgateway #3505, eliza #9904: a stream that its provider broke was billed in full.
TEST(Regression, AFaultAfterTheFirstTokenRefundsTheInput) {
  Scene scene(10'000, sliced());
  scene.open();
  scene.deliver(30);
  scene.end(EndCause::kFault);
  EXPECT_EQ(scene.life.charge(), 300);
}
// duckle #258: a budget stop that looks like an error is retried; here it is an outcome.
TEST(Regression, ABudgetStopIsANormalEnd) {
  EXPECT_EQ(outcome_of({.cause = EndCause::kFundsEnd, .was_admitted = true, .delivered_tokens = 1}),
            Outcome::kBudget);
}

}  // namespace
}  // namespace tg::market
