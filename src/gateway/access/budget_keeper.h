// Budgets as ledger accounts. Each period of a budget has an account of its own on
// ledgers::kBudget, granted the period's amount before its first hold; holds and posts of requests
// are repeated on it in full, so the ledger refuses what would pass it, whatever races. Nothing is
// swept: what a period leaves over stays behind in its account.
//
// A raised amount is granted on top. A lowered one begins a new account (generation) with what the
// period has left after all that was spent and held before; the older account is closed.
#pragma once

#include "gateway/access/identity.h"
#include "ledger/service.h"

namespace tg::gateway {

// A period in UTC, numbered so that no two are the same.
struct PeriodSpan {
  i64 number = 0;
  Timestamp begins;
  std::optional<Timestamp> ends;  // None for totals.
};
PeriodSpan period_at(BudgetPeriod period, Timestamp now);

u128 budget_account(const Budget& budget, i64 period_number, i64 generation);

class BudgetKeeper {
 public:
  // The ledger outlives it. Thread-safe.
  explicit BudgetKeeper(ledger::Service& ledger) : ledger_(ledger) {}

  // Makes and grants the account for the period that `now` is in; doing it again changes nothing.
  // Waits for the ledger: not for event loops.
  Result<u128> open(const Budget& budget, Timestamp now);

 private:
  Result<u128> close_older(const Budget& budget, i64 period_number);

  ledger::Service& ledger_;
};

}  // namespace tg::gateway
