// A ledger that is away for a while, as a database server that is started again: who was let in is
// settled once and exactly when it is back, who comes meanwhile is refused at once, and nothing
// stays held.
#include <gtest/gtest.h>

#include "base/log.h"
#include "gateway/testing/till_desk.h"

namespace tg::gateway {
namespace {

using Status = BillingReply::Status;

constexpr i64 kSecond = 1'000'000'000;

class TillOutage : public testing::Test {
 protected:
  TillOutage() {
    set_log_level(LogLevel::kOff);
    ledger_.grant(DeskLedger::kBuyer, 1'000'000);
  }
  ~TillOutage() override { set_log_level(LogLevel::kWarn); }

  u64 send_close(TillDesk& desk, u128 hold, i64 delivered) {
    HoldClose close{.hold = hold, .outcome = Outcome::kCompleted, .delivered_tokens = delivered};
    close.timing.ended = ledger_.now;
    return desk.send(close);
  }
  u128 charged() { return ledger_.account(DeskLedger::kSeller).credits_posted; }
  u128 held() { return ledger_.account(DeskLedger::kBuyer).debits_pending; }

  DeskLedger ledger_;
  TillOptions options_ = desk_options();
};

TEST_F(TillOutage, WhoWasLetInIsSettledOnceWhenTheLedgerIsBack) {
  TillDesk desk(ledger_, options_);
  std::vector<u128> holds;
  for (int i = 0; i < 20; ++i) holds.push_back(desk.ask(desk.question(100, 10)).hold);
  desk.error = Code::kUnavailable;
  std::vector<u64> closes;
  for (u128 hold : holds) {
    // Of every other one the ledger has done what it did not say.
    desk.does_all_the_same = closes.size() % 2 == 0;
    closes.push_back(send_close(desk, hold, 10));
    desk.settle();
  }
  EXPECT_EQ(charged(), 10u * 300);
  i64 before = desk.requests;
  desk.pass(50 * kSecond);
  for (u64 tag : closes) EXPECT_FALSE(desk.is_answered(tag));
  // Once a second, after the first few.
  EXPECT_LE(desk.requests - before, 20 * 60);
  desk.error.reset();
  desk.pass(kSecond);
  for (u64 tag : closes) {
    BillingReply reply = desk.answer(tag);
    EXPECT_EQ(reply.status, Status::kOk) << reply.message;
    EXPECT_EQ(reply.settlement.charged, 300);
  }
  EXPECT_EQ(charged(), 20u * 300);
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(ledger_.documents.size(), 20u);
  EXPECT_EQ(desk.till().open_runs(), 0);
}

TEST_F(TillOutage, WhoComesMeanwhileIsRefusedAtOnceAndLetInAfterwards) {
  TillDesk desk(ledger_, options_);
  desk.error = Code::kUnavailable;
  desk.does_all_the_same = true;
  EXPECT_EQ(desk.ask(desk.question(100, 10)).status, Status::kFailed);
  EXPECT_GT(held(), 0u) << "the ledger did not say what it did";
  i64 before = desk.requests;
  for (int i = 0; i < 1'000; ++i)
    EXPECT_EQ(desk.ask(desk.question(100, 10)).status, Status::kFailed);
  EXPECT_EQ(desk.requests, before) << "a ledger that is away is left alone";
  desk.pass(10 * kSecond);
  desk.error.reset();
  desk.pass(kSecond);
  // What nobody waits for is let go, and leaves no receipt.
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(ledger_.documents.size(), 0u);
  EXPECT_EQ(desk.till().open_runs(), 0);
  BillingReply granted = desk.ask(desk.question(100, 10));
  ASSERT_EQ(granted.status, Status::kOk);
  EXPECT_EQ(desk.close(granted.hold, Outcome::kCompleted, 10).settlement.charged, 300);
}

// Nobody else asks.
TEST_F(TillOutage, OneOfThoseWhoComeFindsOutThatTheLedgerIsBack) {
  TillDesk desk(ledger_, options_);
  HoldOpen stranger = desk.question(100, 10);
  stranger.account = 777;  // Not known: to be looked up, which holds nothing.
  desk.error = Code::kUnavailable;
  EXPECT_EQ(desk.ask(stranger).status, Status::kFailed);
  EXPECT_EQ(desk.till().waiting(), 0);
  i64 before = desk.requests;
  for (int i = 0; i < 200; ++i) {
    ledger_.now.ns += kSecond / 20;
    stranger.request_id = "req_s" + std::to_string(i);
    EXPECT_EQ(desk.ask(stranger).status, Status::kFailed);
  }
  EXPECT_GT(desk.requests - before, 5);
  EXPECT_LT(desk.requests - before, 20);
  desk.error.reset();
  ledger_.now.ns += kSecond;
  EXPECT_EQ(desk.ask(desk.question(100, 10)).status, Status::kOk);
}

// What was let in goes on to the edge of what is held, and further when the ledger is back.
TEST_F(TillOutage, AStreamGoesOnAfterwards) {
  TillDesk desk(ledger_, options_);
  BillingReply granted = desk.ask(desk.question(100, 10'000));
  ASSERT_EQ(granted.status, Status::kOk);
  i64 edge = granted.notice.edge;
  ASSERT_LT(edge, 10'000);
  desk.error = Code::kUnavailable;
  desk.does_all_the_same = true;
  EdgeNotice notice = desk.report(granted.hold, edge);
  EXPECT_EQ(notice.edge, edge);
  EXPECT_FALSE(notice.is_final);
  desk.pass(20 * kSecond);
  desk.error.reset();
  desk.pass(kSecond);
  notice = desk.report(granted.hold, edge);
  EXPECT_GT(notice.edge, edge);
  EXPECT_FALSE(notice.is_lost);
  BillingReply closed = desk.close(granted.hold, Outcome::kCompleted, notice.edge);
  EXPECT_EQ(closed.settlement.charged, 200 + 10 * notice.edge);
  EXPECT_EQ(charged(), static_cast<u128>(closed.settlement.charged));
  EXPECT_EQ(held(), 0u);
}

TEST_F(TillOutage, AProcessThatEndsWaitsNoLongerThanItSaid) {
  TillDesk desk(ledger_, options_);
  BillingReply granted = desk.ask(desk.question(100, 10));
  BillingReply silent = desk.ask(desk.question(100, 10));
  desk.error = Code::kUnavailable;
  u64 close = send_close(desk, granted.hold, 10);
  desk.settle();
  desk.pass(100 * kSecond);
  EXPECT_FALSE(desk.is_answered(close));
  desk.till().stop(ledger_.now);
  desk.pass(kLastTriesNs - kSecond);
  EXPECT_FALSE(desk.is_answered(close));
  desk.pass(2 * kSecond);
  EXPECT_EQ(desk.answer(close).status, Status::kFailed);
  EXPECT_EQ(desk.till().waiting(), 0);
  EXPECT_EQ(charged(), 0u);
  EXPECT_NE(silent.hold, 0u);
}

// A disk that is full stays full.
TEST_F(TillOutage, AnotherErrorIsAnAnswer) {
  TillDesk desk(ledger_, options_);
  BillingReply granted = desk.ask(desk.question(100, 10));
  desk.error = Code::kIo;
  EXPECT_EQ(desk.close(granted.hold, Outcome::kCompleted, 10).status, Status::kFailed);
  EXPECT_EQ(desk.till().open_runs(), 0);
}

}  // namespace
}  // namespace tg::gateway
