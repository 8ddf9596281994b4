// Bugs that other gateways have in public, one test each, named for the report: what goes wrong
// there must come out right here.
#include <gtest/gtest.h>

#include "gateway/testing/till_desk.h"

namespace tg::gateway {
namespace {

using Status = BillingReply::Status;

// 1 a cached token; from 1,000 prompt tokens on, the double.
TillOptions simple_options() {
  market::RateRule rule = desk_rule();
  rule.prices[market::RatedClass::kCachedInput] = 1'000'000;
  market::RateRule large = rule;
  large.input_from = 1'000;
  for (i64& price : large.prices.values) price *= 2;
  return desk_options({large, rule});
}

class Regress : public testing::Test {
 protected:
  TillDesk desk(u64 seed = 1) { return TillDesk(ledger_, options_, seed); }
  u128 charged() { return ledger_.account(DeskLedger::kSeller).credits_posted; }
  u128 held() { return ledger_.account(DeskLedger::kBuyer).debits_pending; }
  // 100 prompt tokens and up to 10 of output: 300.
  static HoldOpen small(TillDesk& desk) {
    HoldOpen open = desk.question(100, 10);
    open.budgets = {DeskLedger::kBudget};
    return open;
  }

  DeskLedger ledger_;
  TillOptions options_ = simple_options();
};

// --- budgets ------------------------------------------------------------------------------------

// BerriAI/litellm#34732, #35567, #26672: everybody reads the same balance, then everybody spends
// it.
TEST_F(Regress, Litellm34732ConcurrentRequestsDoNotPassABudget) {
  ledger_.grant(DeskLedger::kBuyer, 1'000'000);
  ledger_.grant(DeskLedger::kBudget, 3'000);
  TillDesk till = desk();
  std::vector<u64> tags;
  for (int i = 0; i < 50; ++i) tags.push_back(till.send(small(till)));
  till.settle();
  i64 granted = 0;
  for (u64 tag : tags) {
    BillingReply reply = till.answer(tag);
    granted += reply.status == Status::kOk ? 1 : 0;
    if (reply.status == Status::kOk) till.close(reply.hold, Outcome::kCompleted, 10);
    EXPECT_TRUE(reply.status == Status::kOk || reply.budget == DeskLedger::kBudget);
  }
  EXPECT_EQ(granted, 10);
  EXPECT_EQ(ledger_.account(DeskLedger::kBudget).debits_posted, 3'000u);
  EXPECT_EQ(charged(), 3'000u);
}

// #35567: concurrent increments get lost in a cache.
TEST_F(Regress, Litellm35567NoIncrementIsLost) {
  ledger_.grant(DeskLedger::kBuyer, 1'000'000);
  ledger_.grant(DeskLedger::kBudget, 1'000'000);
  TillDesk till = desk();
  std::vector<u64> tags;
  for (int i = 0; i < 200; ++i) tags.push_back(till.send(small(till)));
  till.settle();
  std::vector<u64> closes;
  for (u64 tag : tags) {
    HoldClose close{.hold = till.answer(tag).hold, .outcome = Outcome::kCompleted};
    close.delivered_tokens = 5;
    closes.push_back(till.send(close));
  }
  till.settle();
  EXPECT_EQ(charged(), 200u * 250);
  EXPECT_EQ(ledger_.account(DeskLedger::kBudget).debits_posted, charged());
}

// #40095: the first requests of somebody not seen before pass by the limit.
TEST_F(Regress, Litellm40095TheFirstRequestsOfAnUnknownBuyerAreLimitedToo) {
  TillDesk till = desk();
  constexpr u128 kNew = 300;
  ledger_.add(kNew, ledger::account_code::kBuyerBundle, ledger::ledgers::kStandard, true);
  ledger_.grant(kNew, 700);
  std::vector<u64> tags;
  for (int i = 0; i < 5; ++i) {
    HoldOpen open = till.question(100, 10);
    open.account = kNew;
    tags.push_back(till.send(open));
  }
  till.settle();
  i64 granted = 0;
  for (u64 tag : tags) granted += till.answer(tag).status == Status::kOk ? 1 : 0;
  EXPECT_EQ(granted, 2);
}

// PR #27509, #38647: a reservation without max_tokens takes all there is and blocks everybody else.
TEST_F(Regress, Litellm27509ARequestWithoutMaxTokensLeavesRoomForOthers) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  ledger_.grant(DeskLedger::kBudget, 100'000);
  TillDesk till = desk();
  HoldOpen open = small(till);
  open.output_tokens_max = 1'000'000;
  BillingReply first = till.ask(open);
  ASSERT_EQ(first.status, Status::kOk);
  EXPECT_LT(held(), 5'000u);
  EXPECT_EQ(till.ask(small(till)).status, Status::kOk);
}

// #36926: "budget exceeded" goes on for minutes after the budget was filled.
TEST_F(Regress, Litellm36926AFilledBudgetIsSeenAtOnce) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  EXPECT_EQ(till.ask(small(till)).status, Status::kBudgetExceeded);
  ledger_.grant(DeskLedger::kBudget, 300);
  EXPECT_EQ(till.ask(small(till)).status, Status::kOk);
}

// PR #40002: reserved at one tier, charged at another.
TEST_F(Regress, Litellm40002HoldAndChargeUseOneTier) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  HoldOpen open = till.question(1'000, 10);
  open.funds.mode = market::HoldMode::kGuaranteed;
  BillingReply opened = till.ask(open);
  EXPECT_EQ(held(), 4'200u);
  EXPECT_EQ(till.close(opened.hold, Outcome::kLength, 10).settlement.charged, 4'200);
}

// PR #27001: what has no messages is not reserved for. A prompt without output is.
TEST_F(Regress, Litellm27001EmbeddingsAreReservedForToo) {
  ledger_.grant(DeskLedger::kBuyer, 199);
  TillDesk till = desk();
  HoldOpen open = till.question(100, 0);
  open.is_embedding = true;
  EXPECT_EQ(till.ask(open).status, Status::kInsufficientFunds);
  ledger_.grant(DeskLedger::kBuyer, 1);
  open = till.question(100, 0);
  open.is_embedding = true;
  BillingReply opened = till.ask(open);
  ASSERT_EQ(opened.status, Status::kOk);
  EXPECT_EQ(till.close(opened.hold, Outcome::kCompleted, 1).settlement.charged, 200);
}

// maximhq/bifrost#3547: each replica has a budget of its own, so N replicas spend N of them.
TEST_F(Regress, Bifrost3547TwoGatewaysShareOneBudget) {
  ledger_.grant(DeskLedger::kBuyer, 1'000'000);
  ledger_.grant(DeskLedger::kBudget, 3'000);
  TillDesk a = desk(1);
  TillDesk b = desk(2);
  std::vector<u64> of_a;
  std::vector<u64> of_b;
  for (int i = 0; i < 20; ++i) of_a.push_back(a.send(small(a)));
  for (int i = 0; i < 20; ++i) of_b.push_back(b.send(small(b)));
  bool more = true;
  while (more) {
    bool is_a = a.step();
    bool is_b = b.step();
    more = is_a || is_b;
  }
  i64 granted = 0;
  for (u64 tag : of_a) granted += a.answer(tag).status == Status::kOk ? 1 : 0;
  for (u64 tag : of_b) granted += b.answer(tag).status == Status::kOk ? 1 : 0;
  EXPECT_EQ(granted, 10);
}

// BerriAI/litellm#41610, envoyproxy/ai-gateway#2394, #680: streams are limited after the fact.
TEST_F(Regress, Envoy2394AStreamStopsWhereItsFundsEnd) {
  ledger_.grant(DeskLedger::kBuyer, 200 + 10 * 400 + 5);
  TillDesk till = desk();
  BillingReply opened = till.ask(till.question(100, 10'000));
  EdgeNotice notice = opened.notice;
  i64 tokens = 0;
  for (int i = 0; i < 100 && !(notice.is_final && tokens == notice.edge); ++i) {
    tokens = notice.edge;
    ledger_.now.ns += 100'000'000;
    notice = till.report(opened.hold, tokens);
  }
  EXPECT_EQ(tokens, 400);
  BillingReply closed = till.close(opened.hold, Outcome::kBudget, tokens);
  EXPECT_EQ(closed.settlement.charged, 4'200);
  EXPECT_EQ(closed.settlement.outcome, Outcome::kBudget);
}

// --- aborted streams ----------------------------------------------------------------------------

// BerriAI/litellm#14457, #13245, #35958; QuantumNous/new-api#5235, #7062: what was delivered before
// the client left is forgotten, or paid back.
TEST_F(Regress, Litellm14457AnAbortedStreamPaysWhatWasDelivered) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  BillingReply opened = till.ask(till.question(100, 1'000));
  EXPECT_EQ(till.close(opened.hold, Outcome::kBuyerAbort, 7).settlement.charged, 270);
  EXPECT_EQ(held(), 0u);
}

// new-api#5288: the text of an error is billed as output.
TEST_F(Regress, NewApi5288AFailedStreamPaysItsVisibleOutputAlone) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  BillingReply opened = till.ask(till.question(100, 1'000));
  EXPECT_EQ(till.close(opened.hold, Outcome::kSellerFault, 7).settlement.charged, 70);
}

// new-api#4168, #4344: the prompt is billed although nothing came.
TEST_F(Regress, NewApi4168NothingDeliveredCostsNothing) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  for (Outcome outcome : {Outcome::kBuyerAbort, Outcome::kSellerFault, Outcome::kExpired,
                          Outcome::kEmpty, Outcome::kPreempted, Outcome::kCompleted}) {
    BillingReply opened = till.ask(till.question(100, 1'000));
    EXPECT_EQ(till.close(opened.hold, outcome, 0).settlement.charged, 0) << meter::name(outcome);
  }
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(charged(), 0u);
}

// new-api#7486: an unfinished response is charged again when it is asked for again.
TEST_F(Regress, NewApi7486ClosingTwiceChargesOnce) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  BillingReply opened = till.ask(till.question(100, 1'000));
  EXPECT_EQ(till.close(opened.hold, Outcome::kLength, 5).settlement.charged, 250);
  EXPECT_EQ(till.close(opened.hold, Outcome::kLength, 5).status, Status::kFailed);
  EXPECT_EQ(charged(), 250u);
}

// new-api#4429, litellm#30522: a pre-deduction outlives the process that made it.
TEST_F(Regress, NewApi4429HoldsOfADeadProcessAreReleased) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  u128 hold = 0;
  {
    TillDesk dead = desk();
    hold = dead.ask(dead.question(100, 1'000)).hold;
    EXPECT_GT(held(), 0u);
  }
  // By time, without a restart; a restart releases at once (ledger::Service::open).
  ledger_.now.ns += 61'000'000'000;
  ledger_.machine.expire(ledger_.now);
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(charged(), 0u);
  EXPECT_EQ(ledger_.documents.count(hold), 0u);
}

// --- counted twice, or not at all ---------------------------------------------------------------

// BerriAI/litellm#15740, #6633: one request, two rows; or no id, and only the first row stays.
TEST_F(Regress, Litellm6633EveryRunHasExactlyOneReceipt) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  HoldOpen open = till.question(100, 10);
  open.request_id = "";
  std::vector<u128> holds;
  for (i64 choice = 0; choice < 3; ++choice) {
    open.choice = choice;
    BillingReply opened = till.ask(open);
    ASSERT_EQ(opened.status, Status::kOk);
    EXPECT_EQ(till.ask(open).status, Status::kFailed) << "the same run again";
    holds.push_back(opened.hold);
  }
  i64 billed = 0;
  for (u128 hold : holds) {
    till.close(hold, Outcome::kCompleted, 2);
    billed += till.receipt(hold).billed;
  }
  // The prompt is the first choice's.
  EXPECT_EQ(billed, 200 + 3 * 20);
  EXPECT_EQ(charged(), static_cast<u128>(billed));
  EXPECT_EQ(ledger_.documents.size(), 3u);
}

// --- cached tokens ------------------------------------------------------------------------------

// PR litellm#28009, langwatch#7018, quill-router#55, aider#5516: cached tokens at the full price,
// for nothing, or both.
TEST_F(Regress, Litellm28009CachedTokensHaveOnePriceOnce) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  TillDesk till = desk();
  BillingReply opened = till.ask(till.question(100, 10));
  EXPECT_EQ(till.close(opened.hold, Outcome::kCompleted, 1, 60).settlement.charged,
            40 * 2 + 60 * 1 + 10);
  // More than the prompt cannot be cached, whatever a supplier says.
  opened = till.ask(till.question(100, 10));
  EXPECT_EQ(till.close(opened.hold, Outcome::kCompleted, 1, 1'000).settlement.charged, 100 + 10);
}

// --- the spend log ------------------------------------------------------------------------------

// BerriAI/litellm#35766, #31866, PR #34887: the log of spending is the slowest part of a request. A
// short request is two entries, and nothing is searched for.
TEST_F(Regress, Litellm35766AShortRequestIsTwoRequestsToTheLedger) {
  ledger_.grant(DeskLedger::kBuyer, 100'000);
  ledger_.grant(DeskLedger::kBudget, 100'000);
  TillDesk till = desk();
  for (int i = 0; i < 10; ++i) {
    BillingReply opened = till.ask(small(till));
    till.close(opened.hold, Outcome::kCompleted, 10);
  }
  EXPECT_EQ(till.requests, 20);
  EXPECT_EQ(till.till().open_runs(), 0);
}

}  // namespace
}  // namespace tg::gateway
