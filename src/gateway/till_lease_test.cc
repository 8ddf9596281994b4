// A till whose ledger has leased shares only: nobody is refused for what the share has while there
// is more, and a shared ledger that does not answer stops nobody who has enough.
#include <gtest/gtest.h>

#include "base/log.h"
#include "gateway/testing/till_desk.h"

namespace tg::gateway {
namespace {

using Status = BillingReply::Status;

class TillLease : public testing::Test {
 protected:
  TillLease() {
    set_log_level(LogLevel::kOff);
    options_.is_leased = true;
  }
  ~TillLease() override { set_log_level(LogLevel::kWarn); }

  // Brings what is wanted and no more, as far as there is.
  void lease_from(u128 rest) {
    rest_ = rest;
    desk_.emplace(ledger_, options_);
    desk_->leases = [this](u128 wanted) -> std::optional<Code> {
      ++asked_;
      if (is_away_) return Code::kIo;
      u128 here = ledger::available(ledger_.account(DeskLedger::kBuyer));
      u128 more = std::min(wanted > here ? wanted - here : 0, rest_);
      if (more > 0) ledger_.grant(DeskLedger::kBuyer, more);
      rest_ -= more;
      return std::nullopt;
    };
  }
  TillDesk& desk() { return *desk_; }
  u128 charged() { return ledger_.account(DeskLedger::kSeller).credits_posted; }
  u128 held() { return ledger_.account(DeskLedger::kBuyer).debits_pending; }

  DeskLedger ledger_;
  TillOptions options_ = desk_options();
  std::optional<TillDesk> desk_;
  u128 rest_ = 0;
  i64 asked_ = 0;
  bool is_away_ = false;
};

TEST_F(TillLease, WhatIsMissingIsAskedForBeforeAnybodyIsRefused) {
  lease_from(500);
  BillingReply granted = desk().ask(desk().question(100, 10));
  ASSERT_EQ(granted.status, Status::kOk) << granted.message;
  // The prompt and one token; then a slice more, if there is.
  EXPECT_GE(granted.notice.edge, 1);
  EXPECT_EQ(desk().close(granted.hold, Outcome::kCompleted, 1).settlement.charged, 210);
  EXPECT_EQ(charged(), 210u);
  EXPECT_EQ(desk().ask(desk().question(1'000, 10)).status, Status::kInsufficientFunds);
  EXPECT_EQ(held(), 0u);
}

TEST_F(TillLease, WhatIsThereIsSpentWithoutAsking) {
  ledger_.grant(DeskLedger::kBuyer, 10'000);
  lease_from(500);
  for (int i = 0; i < 10; ++i) {
    BillingReply granted = desk().ask(desk().question(100, 10));
    ASSERT_EQ(granted.status, Status::kOk);
    desk().close(granted.hold, Outcome::kCompleted, 10);
  }
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(charged(), 3'000u);
}

// What was leased was given back since the till last looked.
TEST_F(TillLease, WhatTheOwnLedgerRefusesIsAskedForToo) {
  ledger_.grant(DeskLedger::kBuyer, 1'000);
  lease_from(1'000);
  ledger::Transfer back{.id = 77,
                        .debit_account = DeskLedger::kBuyer,
                        .credit_account = DeskLedger::kWash,
                        .amount = 1'000,
                        .ledger = ledger::ledgers::kStandard,
                        .code = ledger::transfer_code::kLease};
  std::vector<ledger::TransferStatus> statuses;
  ledger_.machine.apply({&back, 1}, ledger_.now, statuses);
  ASSERT_EQ(statuses[0], ledger::TransferStatus::kOk);
  BillingReply granted = desk().ask(desk().question(100, 10));
  ASSERT_EQ(granted.status, Status::kOk);
  // Once to begin; as one token is soon used up, once for the next.
  EXPECT_EQ(asked_, 2);
  EXPECT_EQ(rest_, 1'000u - 210 - 90);
  EXPECT_EQ(desk().close(granted.hold, Outcome::kCompleted, 1).settlement.charged, 210);
}

// Requests that come at once ask each for itself; what is brought for one another takes.
TEST_F(TillLease, NobodyIsRefusedForWhatOthersWereQuickerToTake) {
  lease_from(20 * 210);
  std::vector<u64> tags;
  for (int i = 0; i < 20; ++i) tags.push_back(desk().send(desk().question(100, 10)));
  desk().settle();
  int granted = 0;
  for (u64 tag : tags) granted += desk().answer(tag).status == Status::kOk ? 1 : 0;
  EXPECT_EQ(granted, 20);
}

TEST_F(TillLease, AStreamAsksForItsNextSlice) {
  ledger_.grant(DeskLedger::kBuyer, 1'000);
  lease_from(10'000'000'000'000);
  BillingReply granted = desk().ask(desk().question(100, 10'000));
  ASSERT_EQ(granted.notice.edge, 80);
  EdgeNotice notice = desk().report(granted.hold, 80);
  EXPECT_GT(notice.edge, 80);
  EXPECT_FALSE(notice.is_lost);
}

TEST_F(TillLease, AwayWhoLacksFundsIsToldToComeAgainAndTheOthersAreServed) {
  ledger_.grant(DeskLedger::kBuyer, 1'000);
  lease_from(10'000);
  is_away_ = true;
  EXPECT_EQ(desk().ask(desk().question(1'000, 10)).status, Status::kFailed);
  EXPECT_EQ(asked_, 1);
  EXPECT_EQ(desk().till().waiting(), 0);
  EXPECT_EQ(desk().till().open_runs(), 0);
  BillingReply granted = desk().ask(desk().question(100, 10));
  ASSERT_EQ(granted.status, Status::kOk);
  EXPECT_EQ(desk().close(granted.hold, Outcome::kCompleted, 10).settlement.charged, 300);
  is_away_ = false;
  EXPECT_EQ(desk().ask(desk().question(1'000, 10)).status, Status::kOk);
}

TEST_F(TillLease, AwayAStreamEndsAtTheEdgeOfWhatItHolds) {
  ledger_.grant(DeskLedger::kBuyer, 1'000);
  lease_from(10'000);
  BillingReply granted = desk().ask(desk().question(100, 10'000));
  ASSERT_EQ(granted.notice.edge, 80);
  is_away_ = true;
  EdgeNotice notice = desk().report(granted.hold, 80);
  EXPECT_EQ(notice.edge, 80);
  EXPECT_TRUE(notice.is_final);
  EXPECT_FALSE(notice.is_lost);
  EXPECT_EQ(desk().close(granted.hold, Outcome::kBudget, 80).settlement.charged, 1'000);
  EXPECT_EQ(charged(), 1'000u);
  EXPECT_EQ(held(), 0u);
}

}  // namespace
}  // namespace tg::gateway
