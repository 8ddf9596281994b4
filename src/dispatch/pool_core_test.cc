// The pool's promises to a buyer, against suppliers that are written down: what fails is sent
// elsewhere, tokens come once, one end comes, one charge.
#include "dispatch/pool_core.h"

#include <gtest/gtest.h>

#include <map>

namespace tg::dispatch {
namespace {

using fleet::FinishReason;
using Kind = fleet::SupplierEvent::Kind;

constexpr i64 kMs = 1'000'000;

struct Told {
  std::vector<TokenId> tokens;
  std::vector<fleet::SupplierEvent> ends;
  std::string supplier;  // of the first event
  std::string route;
};

class PoolCoreTest : public testing::Test {
 protected:
  void open(PoolSettings settings, const std::vector<std::string>& names, i64 requests_max = 8) {
    core_ = std::make_unique<PoolCore>(std::move(settings));
    for (const std::string& name : names) {
      PoolSupplier s{.name = name, .zone = "z-" + name, .requests_max = requests_max};
      s.step = {.ns_per_step = 1e6, .ns_per_token = 1e4, .ns_per_row = 1e4};
      core_->join(s, now_);
    }
    pump();
  }
  fleet::SupplyRequest request(u64 id, i64 max_tokens = 8) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = {1, 2, 3, 4};
    r.max_tokens = max_tokens;
    r.events = mailbox_;
    return r;
  }
  void submit(fleet::SupplyRequest r) {
    core_->submit(std::move(r), now_);
    pump();
  }
  // Takes what came out into `orders_` and `told_`.
  void pump() {
    for (PoolOrder& order : core_->take_orders()) orders_.push_back(std::move(order));
    for (PoolDelivery& d : core_->take_deliveries()) {
      Told& told = told_[d.event.request];
      told.tokens.insert(told.tokens.end(), d.event.tokens.begin(), d.event.tokens.end());
      if (told.supplier.empty()) told.supplier = d.event.supplier;
      if (told.route.empty()) told.route = d.event.route;
      if (d.event.kind == Kind::kFinished) told.ends.push_back(d.event);
    }
    for (SupplyRecord& record : core_->take_records()) records_.push_back(std::move(record));
  }
  PoolOrder next_submit() {
    for (std::size_t i = 0; i < orders_.size(); ++i) {
      if (orders_[i].kind != PoolOrder::Kind::kSubmit) continue;
      PoolOrder order = orders_[i];
      orders_.erase(orders_.begin() + static_cast<i64>(i));
      return order;
    }
    ADD_FAILURE() << "nothing was submitted";
    return {};
  }
  bool was_cancelled(u64 attempt) const {
    for (const PoolOrder& order : orders_) {
      if (order.kind == PoolOrder::Kind::kCancel && order.attempt == attempt) return true;
    }
    return false;
  }
  void tokens(u64 attempt, std::vector<TokenId> ids) {
    fleet::SupplierEvent e;
    e.request = attempt;
    e.tokens = std::move(ids);
    core_->event(std::move(e), now_);
    pump();
  }
  void end(u64 attempt, FinishReason reason, i64 claimed = 0, std::string error = "",
           fleet::Fault fault = fleet::Fault::kBroken) {
    fleet::SupplierEvent e;
    e.request = attempt;
    e.kind = Kind::kFinished;
    e.reason = reason;
    e.error = std::move(error);
    e.fault = fault;
    e.usage.output_tokens = claimed;
    core_->event(std::move(e), now_);
    pump();
  }
  void pass(i64 ms) {
    for (i64 i = 0; i < ms; i += 20) {
      now_ += 20 * kMs;
      core_->tick(now_);
      pump();
    }
  }
  std::string name(u32 supplier) { return core_->names()[supplier]; }

  i64 now_ = 1'000 * kMs;
  std::unique_ptr<PoolCore> core_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(1);
  std::vector<PoolOrder> orders_;
  std::map<u64, Told> told_;
  std::vector<SupplyRecord> records_;
};

TEST_F(PoolCoreTest, ServesAndSaysWhoAndWhy) {
  open({}, {"a", "b"});
  submit(request(7));
  PoolOrder order = next_submit();
  EXPECT_EQ(order.request.id, order.attempt);
  EXPECT_EQ(order.request.prompt.size(), 4u);
  tokens(order.attempt, {10, 11});
  tokens(order.attempt, {12});
  end(order.attempt, FinishReason::kStop, 3);
  const Told& told = told_[7];
  EXPECT_EQ(told.tokens, (std::vector<TokenId>{10, 11, 12}));
  ASSERT_EQ(told.ends.size(), 1u);
  EXPECT_EQ(told.ends[0].usage.prompt_tokens, 4);
  EXPECT_EQ(told.ends[0].usage.output_tokens, 3);
  EXPECT_EQ(told.ends[0].supplier, name(order.supplier));
  EXPECT_EQ(told.supplier, name(order.supplier));
  EXPECT_NE(told.route.find("supplier=" + told.supplier), std::string::npos) << told.route;
  EXPECT_EQ(core_->open(), 0);
}

TEST_F(PoolCoreTest, AFailureBeforeTheFirstTokenIsSentElsewhereAsItWas) {
  open({}, {"a", "b"});
  submit(request(1));
  PoolOrder first = next_submit();
  end(first.attempt, FinishReason::kError, 0, "it burns");
  PoolOrder second = next_submit();
  EXPECT_NE(second.supplier, first.supplier);
  EXPECT_EQ(second.request.prompt, first.request.prompt);
  EXPECT_EQ(second.request.max_tokens, first.request.max_tokens);
  tokens(second.attempt, {5});
  // Late words of the first are not heard.
  tokens(first.attempt, {99});
  end(second.attempt, FinishReason::kStop, 1);
  EXPECT_EQ(told_[1].tokens, (std::vector<TokenId>{5}));
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_NE(told_[1].route.find("attempt=2"), std::string::npos) << told_[1].route;
  EXPECT_NE(told_[1].route.find("it burns"), std::string::npos) << told_[1].route;
  EXPECT_EQ(core_->counters().retries, 1u);
}

TEST_F(PoolCoreTest, AFailureAfterTokensIsContinuedFromThem) {
  open({}, {"a", "b"});
  submit(request(1, 8));
  PoolOrder first = next_submit();
  tokens(first.attempt, {10, 11, 12});
  end(first.attempt, FinishReason::kError, 0, "killed");
  PoolOrder second = next_submit();
  EXPECT_EQ(second.request.prompt, (std::vector<TokenId>{1, 2, 3, 4, 10, 11, 12}));
  EXPECT_EQ(second.request.max_tokens, 5);
  tokens(second.attempt, {13});
  end(second.attempt, FinishReason::kStop, 1);
  EXPECT_EQ(told_[1].tokens, (std::vector<TokenId>{10, 11, 12, 13}));
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_EQ(told_[1].ends[0].usage.prompt_tokens, 4);
  EXPECT_EQ(told_[1].ends[0].usage.output_tokens, 4);
  EXPECT_EQ(core_->counters().continuations, 1u);
}

TEST_F(PoolCoreTest, AFailureAfterTheLastTokenIsAnEnd) {
  open({}, {"a", "b"});
  submit(request(1, 2));
  PoolOrder first = next_submit();
  tokens(first.attempt, {10, 11});
  end(first.attempt, FinishReason::kError, 0, "killed");
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_EQ(told_[1].ends[0].reason, FinishReason::kLength);
  EXPECT_TRUE(orders_.empty());
}

TEST_F(PoolCoreTest, GivesUpAfterSoManyAttempts) {
  open({.attempts_max = 3}, {"a", "b", "c", "d"});
  submit(request(1));
  for (int i = 0; i < 3; ++i) end(next_submit().attempt, FinishReason::kError, 0, "no");
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_EQ(told_[1].ends[0].reason, FinishReason::kError);
  EXPECT_NE(told_[1].ends[0].error.find("no"), std::string::npos);
  EXPECT_EQ(core_->open(), 0);
}

TEST_F(PoolCoreTest, SurplusTokensAreDroppedAndFalseClaimsDisputed) {
  open({}, {"liar"});
  submit(request(1, 3));
  PoolOrder order = next_submit();
  tokens(order.attempt, {1, 2, 3, 4, 5, 6});
  end(order.attempt, FinishReason::kLength, 1'000);
  EXPECT_EQ(told_[1].tokens.size(), 3u);
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_EQ(told_[1].ends[0].usage.output_tokens, 3);
  EXPECT_GE(core_->counters().disputes, 1u);
  EXPECT_EQ(core_->member_status(0).health, Health::kSuspect);
  ASSERT_EQ(records_.size(), 1u);
  EXPECT_EQ(records_[0].output_tokens, 3);
  EXPECT_EQ(records_[0].claimed_tokens, 1'000);
  EXPECT_NE(records_[0].dispute, "");
}

TEST_F(PoolCoreTest, ALiarIsUsedOnlyWhenNobodyElseIsThere) {
  open({}, {"liar", "honest"});
  // Tried until it was the liar's turn.
  for (u64 id = 1; core_->counters().disputes == 0; ++id) {
    ASSERT_LT(id, 50u);
    fleet::SupplyRequest r = request(id);
    r.wishes.allow = {"liar"};
    submit(std::move(r));
    PoolOrder order = next_submit();
    tokens(order.attempt, {1});
    end(order.attempt, FinishReason::kStop, 500);
  }
  for (u64 id = 100; id < 104; ++id) {
    submit(request(id));
    EXPECT_EQ(name(next_submit().supplier), "honest");
  }
  core_->leave(1, now_);
  pump();
  submit(request(200));
  EXPECT_EQ(name(next_submit().supplier), "liar");
}

TEST_F(PoolCoreTest, ASupplierThatFailsIsLeftAloneAndTriedAgain) {
  open({.breaker = {.failures_max = 2, .cooldown_ns = 1'000 * kMs}}, {"bad", "good"});
  u64 id = 1;
  auto fail_bad = [&] {
    fleet::SupplyRequest r = request(id++);
    r.wishes.allow = {"bad"};
    submit(std::move(r));
    end(next_submit().attempt, FinishReason::kError, 0, "no");
  };
  fail_bad();
  // Its second attempt is at the same supplier, since no other is allowed.
  end(next_submit().attempt, FinishReason::kError, 0, "no");
  EXPECT_EQ(core_->member_status(0).health, Health::kDown);
  for (int i = 0; i < 5; ++i) {
    submit(request(id++));
    EXPECT_EQ(name(next_submit().supplier), "good");
  }
  pass(1'100);
  EXPECT_EQ(core_->member_status(0).health, Health::kDown);  // the waiting request is its trial
  PoolOrder trial = next_submit();
  EXPECT_EQ(name(trial.supplier), "bad");
  tokens(trial.attempt, {1});
  end(trial.attempt, FinishReason::kStop, 1);
  EXPECT_EQ(core_->member_status(0).health, Health::kUp);
}

TEST_F(PoolCoreTest, HoldsWhatNobodyHasRoomForAndBindsLate) {
  open({.route = {.hold_ns = 1}}, {"a"}, 1);
  submit(request(1, 100));
  PoolOrder first = next_submit();
  tokens(first.attempt, {1});
  for (u64 id = 2; id < 5; ++id) submit(request(id, 100));
  ASSERT_TRUE(orders_.empty());
  EXPECT_EQ(core_->waiting(), 3);
  core_->cancel(3, now_);
  pump();
  ASSERT_EQ(told_[3].ends.size(), 1u);
  EXPECT_EQ(told_[3].ends[0].reason, FinishReason::kCancelled);
  end(first.attempt, FinishReason::kStop, 1);
  EXPECT_EQ(next_submit().request.max_tokens, 100);
  EXPECT_EQ(core_->waiting(), 1);
}

TEST_F(PoolCoreTest, WaitsAWhileForSuppliersThatAreDownThenSaysSo) {
  open({.absence_ns_max = 2'000 * kMs}, {"a"});
  core_->report(0, {.is_up = false}, now_);
  submit(request(1));
  submit(request(2));
  pass(1'000);
  EXPECT_TRUE(told_.empty());
  core_->report(0, {.is_up = true}, now_);
  pass(20);
  end(next_submit().attempt, FinishReason::kStop);
  end(next_submit().attempt, FinishReason::kStop);
  core_->report(0, {.is_up = false}, now_);
  submit(request(3));
  pass(2'100);
  ASSERT_EQ(told_[3].ends.size(), 1u);
  EXPECT_EQ(told_[3].ends[0].fault, fleet::Fault::kBusy);
}

TEST_F(PoolCoreTest, WishesThatNobodyMeetsAreRefusedAtOnce) {
  open({}, {"a", "b"});
  fleet::SupplyRequest r = request(1);
  r.wishes.zone = "mars";
  submit(std::move(r));
  r = request(2);
  r.wishes.allow = {"c"};
  submit(std::move(r));
  r = request(3);
  r.wishes.deny = {"a", "b"};
  submit(std::move(r));
  for (u64 id = 1; id <= 3; ++id) {
    ASSERT_EQ(told_[id].ends.size(), 1u) << id;
    EXPECT_EQ(told_[id].ends[0].fault, fleet::Fault::kInvalid);
  }
  r = request(4);
  r.wishes.zone = "z-b";
  submit(std::move(r));
  EXPECT_EQ(name(next_submit().supplier), "b");
}

TEST_F(PoolCoreTest, ALateFirstTokenIsHedgedAndTheFirstToComeWins) {
  open({.route = {.hedge_factor = 2}, .hedges_ppm_max = 1'000'000}, {"a", "b"});
  submit(request(1));
  PoolOrder slow = next_submit();
  pass(2'000);
  PoolOrder fast = next_submit();
  EXPECT_NE(fast.supplier, slow.supplier);
  tokens(fast.attempt, {5});
  EXPECT_TRUE(was_cancelled(slow.attempt));
  tokens(slow.attempt, {6});
  end(slow.attempt, FinishReason::kCancelled);
  end(fast.attempt, FinishReason::kStop, 1);
  EXPECT_EQ(told_[1].tokens, (std::vector<TokenId>{5}));
  ASSERT_EQ(told_[1].ends.size(), 1u);
  EXPECT_EQ(told_[1].ends[0].usage.output_tokens, 1);
  EXPECT_EQ(core_->counters().hedges_won, 1u);
}

TEST_F(PoolCoreTest, ASilentSupplierIsGivenUp) {
  open({.stall_ns_max = 500 * kMs}, {"a", "b"});
  submit(request(1));
  PoolOrder first = next_submit();
  tokens(first.attempt, {1});
  pass(600);
  EXPECT_TRUE(was_cancelled(first.attempt));
  PoolOrder second = next_submit();
  EXPECT_NE(second.supplier, first.supplier);
  EXPECT_EQ(second.request.prompt.back(), 1);
}

// It is the payer who is silent, not the supplier.
TEST_F(PoolCoreTest, WhoWaitsForFundsIsNotSilent) {
  open({.stall_ns_max = 500 * kMs}, {"a", "b"});
  fleet::SupplyRequest r = request(1, 50);
  r.funded_tokens = 3;
  submit(std::move(r));
  PoolOrder first = next_submit();
  tokens(first.attempt, {1, 2, 3});
  pass(2'000);
  EXPECT_FALSE(was_cancelled(first.attempt));
  core_->extend(1, 6);
  pump();
  EXPECT_EQ(orders_.back().funded_tokens, 6);
  EXPECT_FALSE(orders_.back().is_funding_final);
  pass(300);
  EXPECT_FALSE(was_cancelled(first.attempt));
  // Now it is: its funds are there.
  pass(600);
  EXPECT_TRUE(was_cancelled(first.attempt));
}

TEST_F(PoolCoreTest, ThatThereIsNoMoreReachesTheSupplier) {
  open({}, {"a", "b"});
  fleet::SupplyRequest r = request(1, 50);
  r.funded_tokens = 3;
  submit(std::move(r));
  PoolOrder first = next_submit();
  tokens(first.attempt, {1, 2});
  core_->extend(1, 3, true);
  pump();
  EXPECT_EQ(orders_.back().kind, PoolOrder::Kind::kExtend);
  EXPECT_EQ(orders_.back().funded_tokens, 3);
  EXPECT_TRUE(orders_.back().is_funding_final);
  end(first.attempt, FinishReason::kError, 0, "no");
  EXPECT_TRUE(next_submit().request.is_funding_final);
}

TEST_F(PoolCoreTest, LeavingSendsOpenRequestsElsewhereAndReturningIsWelcome) {
  open({}, {"a", "b"});
  fleet::SupplyRequest r = request(1);
  submit(std::move(r));
  PoolOrder first = next_submit();
  core_->leave(first.supplier, now_);
  pump();
  PoolOrder second = next_submit();
  EXPECT_NE(second.supplier, first.supplier);
  end(second.attempt, FinishReason::kStop);
  u32 back = core_->join({.name = name(first.supplier)}, now_);
  EXPECT_EQ(back, first.supplier);
  EXPECT_EQ(core_->member_status(back).health, Health::kUp);
}

TEST_F(PoolCoreTest, RefusedOrdersGoElsewhereWithoutBlame) {
  open({.breaker = {.failures_max = 1}}, {"a", "b"});
  submit(request(1));
  PoolOrder first = next_submit();
  core_->refused(first.attempt, Error{Code::kUnavailable, "queue full"}, now_);
  pump();
  EXPECT_NE(next_submit().supplier, first.supplier);
  EXPECT_EQ(core_->member_status(first.supplier).health, Health::kUp);
}

TEST_F(PoolCoreTest, FundsFollowTheRequestToItsNextSupplier) {
  open({}, {"a", "b"});
  fleet::SupplyRequest r = request(1, 50);
  r.funded_tokens = 10;
  submit(std::move(r));
  PoolOrder first = next_submit();
  EXPECT_EQ(first.request.funded_tokens, 10);
  tokens(first.attempt, {1, 2, 3});
  core_->extend(1, 20);
  pump();
  ASSERT_FALSE(orders_.empty());
  EXPECT_EQ(orders_.back().kind, PoolOrder::Kind::kExtend);
  EXPECT_EQ(orders_.back().funded_tokens, 20);
  end(first.attempt, FinishReason::kError, 0, "no");
  EXPECT_EQ(next_submit().request.funded_tokens, 17);
}

// A supplier that says it is a hundred times faster than it is gets fewer and fewer requests.
TEST_F(PoolCoreTest, BoastsAreCorrectedByMeasurements) {
  open({}, {"boaster", "honest"});
  core_->report(0, {.step = {.ns_per_step = 1e4, .ns_per_token = 1e2}}, now_);
  core_->report(1, {.step = {.ns_per_step = 1e6, .ns_per_token = 1e4}}, now_);
  i64 at_boaster = 0;
  for (u64 id = 1; id <= 60; ++id) {
    submit(request(id));
    PoolOrder order = next_submit();
    bool is_boaster = name(order.supplier) == "boaster";
    if (id > 40) at_boaster += is_boaster ? 1 : 0;
    now_ += is_boaster ? 30 * kMs : 2 * kMs;
    tokens(order.attempt, {1});
    for (TokenId i = 0; i < 7; ++i) {
      now_ += is_boaster ? 10 * kMs : kMs;
      tokens(order.attempt, {i});
    }
    end(order.attempt, FinishReason::kLength, 8);
  }
  EXPECT_LE(at_boaster, 2);
  EXPECT_GT(core_->member_status(0).rate_correction, 10);
}

}  // namespace
}  // namespace tg::dispatch
