// Budgets on a real ledger: periods, grants, and what a changed amount does.
#include "gateway/access/budget_keeper.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "gateway/billing.h"
#include "ledger/id.h"
#include "ledger/open_store.h"

namespace tg::gateway {
namespace {

constexpr i64 kDay = 86'400'000'000'000;

Timestamp day(i64 days) {
  return Timestamp{days * kDay};
}

TEST(BudgetPeriodTest, PeriodsMeetWithoutGaps) {
  for (BudgetPeriod period : {BudgetPeriod::kDay, BudgetPeriod::kWeek, BudgetPeriod::kMonth}) {
    PeriodSpan span = period_at(period, day(-800));
    for (int i = 0; i < 2'000; ++i) {
      ASSERT_TRUE(span.ends.has_value());
      ASSERT_LT(span.begins, *span.ends);
      PeriodSpan last = period_at(period, Timestamp{span.ends->ns - 1});
      ASSERT_EQ(last.number, span.number);
      PeriodSpan next = period_at(period, *span.ends);
      ASSERT_EQ(next.number, span.number + 1);
      ASSERT_EQ(next.begins, *span.ends);
      span = next;
    }
  }
  // 2026-11-30 is a Monday, and the last day of its month.
  Timestamp monday = day(20'787);
  EXPECT_EQ(to_rfc3339(monday).substr(0, 10), "2026-11-30");
  EXPECT_EQ(period_at(BudgetPeriod::kWeek, monday).begins, monday);
  EXPECT_EQ(to_rfc3339(period_at(BudgetPeriod::kMonth, monday).begins).substr(0, 10), "2026-11-01");
  EXPECT_EQ(*period_at(BudgetPeriod::kMonth, monday).ends, day(20'788));
  EXPECT_FALSE(period_at(BudgetPeriod::kTotal, monday).ends.has_value());
}

class BudgetKeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_budget_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    ledger_ = ledger::Service::open(ledger::open_store(folder_).value(), clock_).value();
  }
  void TearDown() override {
    ledger_.reset();
    std::filesystem::remove_all(folder_);
  }
  i64 left(u128 account) {
    return static_cast<i64>(ledger::available(*ledger_->find_account(account).value()));
  }
  ledger::TransferStatus spend(u128 account, i64 amount) {
    ledger::Request request;
    ledger::Transfer transfer;
    transfer.id = ledger::id_from_name("spend" + std::to_string(spent_++));
    transfer.debit_account = account;
    transfer.credit_account = budget_sink_account();
    transfer.amount = static_cast<u128>(amount);
    transfer.ledger = ledger::ledgers::kBudget;
    transfer.code = ledger::transfer_code::kPostSlice;
    request.transfers.push_back(transfer);
    return ledger_->execute(std::move(request)).transfers.at(0);
  }

  std::string folder_;
  SystemClock clock_;
  std::unique_ptr<ledger::Service> ledger_;
  i64 spent_ = 0;
};

TEST_F(BudgetKeeperTest, GrantsEachPeriodOnce) {
  BudgetKeeper keeper(*ledger_);
  Budget budget{.id = "bud_1", .period = BudgetPeriod::kDay, .amount_nst = 100};
  u128 today = keeper.open(budget, day(5)).value();
  EXPECT_TRUE(keeper.open(budget, Timestamp{5 * kDay + 77}).value() == today);
  EXPECT_EQ(left(today), 100);
  EXPECT_EQ(spend(today, 100), ledger::TransferStatus::kOk);
  EXPECT_EQ(spend(today, 1), ledger::TransferStatus::kExceedsCredits);
  EXPECT_TRUE(keeper.open(budget, day(5)).value() == today);
  EXPECT_EQ(left(today), 0);
  u128 tomorrow = keeper.open(budget, day(6)).value();
  EXPECT_FALSE(tomorrow == today);
  EXPECT_EQ(left(tomorrow), 100);
  EXPECT_EQ(ledger_->audit().value().holds_open, 0);
}

TEST_F(BudgetKeeperTest, RaisedAmountsAreGrantedOnTop) {
  BudgetKeeper keeper(*ledger_);
  Budget budget{.id = "bud_1", .amount_nst = 100};
  u128 account = keeper.open(budget, day(1)).value();
  EXPECT_EQ(spend(account, 60), ledger::TransferStatus::kOk);
  budget.amount_nst = 150;
  EXPECT_TRUE(keeper.open(budget, day(1)).value() == account);
  EXPECT_EQ(left(account), 90);
}

TEST_F(BudgetKeeperTest, LoweredAmountsCountWhatWasSpent) {
  BudgetKeeper keeper(*ledger_);
  Budget budget{.id = "bud_1", .amount_nst = 100};
  u128 first = keeper.open(budget, day(1)).value();
  EXPECT_EQ(spend(first, 60), ledger::TransferStatus::kOk);
  budget.amount_nst = 80;
  budget.generation = 1;
  u128 second = keeper.open(budget, day(1)).value();
  EXPECT_EQ(left(second), 20);
  EXPECT_EQ(spend(first, 1), ledger::TransferStatus::kDebitAccountClosed);
  EXPECT_EQ(spend(second, 20), ledger::TransferStatus::kOk);
  budget.amount_nst = 10;
  budget.generation = 2;
  u128 third = keeper.open(budget, day(1)).value();
  EXPECT_EQ(left(third), 0);
  EXPECT_EQ(spend(third, 1), ledger::TransferStatus::kExceedsCredits);
  budget.amount_nst = 85;
  EXPECT_TRUE(keeper.open(budget, day(1)).value() == third);
  EXPECT_EQ(left(third), 5);
}

}  // namespace
}  // namespace tg::gateway
