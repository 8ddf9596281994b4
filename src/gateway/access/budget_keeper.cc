#include "gateway/access/budget_keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "gateway/billing.h"
#include "ledger/id.h"

namespace tg::gateway {
namespace {

constexpr i64 kNsPerDay = 86'400'000'000'000;

i64 floor_div(i64 a, i64 b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

// Howard Hinnant's days_from_civil, for the first of a month; month from 0.
i64 days_of_month(i64 year, i64 month) {
  i64 y = month < 2 ? year - 1 : year;
  i64 era = floor_div(y, 400);
  i64 year_of_era = y - era * 400;
  i64 shifted = (month + 10) % 12;
  i64 day_of_year = (153 * shifted + 2) / 5;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

// Months since 0000-01; and of its inverse.
i64 month_of_days(i64 days) {
  i64 z = days + 719'468;
  i64 era = floor_div(z, 146'097);
  i64 day_of_era = z - era * 146'097;
  i64 year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  i64 day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  i64 shifted = (5 * day_of_year + 2) / 153;
  i64 month = (shifted + 2) % 12;
  i64 year = year_of_era + era * 400 + (month < 2 ? 1 : 0);
  return year * 12 + month;
}

Timestamp at_day(i64 days) {
  return Timestamp{days * kNsPerDay};
}

u128 pool_account() {
  static const u128 account = ledger::id_from_name("budget/pool");
  return account;
}

ledger::Account account_of(u128 id, u16 code, u16 flags) {
  ledger::Account account;
  account.id = id;
  account.ledger = ledger::ledgers::kBudget;
  account.code = code;
  account.flags = flags;
  return account;
}

}  // namespace

PeriodSpan period_at(BudgetPeriod period, Timestamp now) {
  constexpr i64 kDaysPerWeek = 7;
  constexpr i64 kThursday = 3;  // 1970-01-01 was one; weeks begin on Monday.
  i64 day = floor_div(now.ns, kNsPerDay);
  switch (period) {
    case BudgetPeriod::kTotal: return {};
    case BudgetPeriod::kDay: return {day, at_day(day), at_day(day + 1)};
    case BudgetPeriod::kWeek: {
      i64 week = floor_div(day + kThursday, kDaysPerWeek);
      i64 begins = week * kDaysPerWeek - kThursday;
      return {week, at_day(begins), at_day(begins + kDaysPerWeek)};
    }
    case BudgetPeriod::kMonth: {
      i64 month = month_of_days(day);
      return {month, at_day(days_of_month(month / 12, month % 12)),
              at_day(days_of_month((month + 1) / 12, (month + 1) % 12))};
    }
  }
  return {};
}

u128 budget_account(const Budget& budget, i64 period_number, i64 generation) {
  return ledger::id_from_name(
      fmt::format("budget/{}/{}/{}/{}", budget.id, name(budget.period), period_number, generation));
}

// Ends what earlier generations granted in this period; what they spent and hold.
Result<u128> BudgetKeeper::close_older(const Budget& budget, i64 period_number) {
  ledger::Request request;
  for (i64 generation = 0; generation < budget.generation; ++generation) {
    u128 id = budget_account(budget, period_number, generation);
    TG_ASSIGN(std::optional<ledger::Account> known, ledger_.find_account(id));
    if (!known) continue;
    request.closures.push_back(id);
    request.lookups.push_back(id);
  }
  if (request.lookups.empty()) return u128{0};
  ledger::Reply reply = ledger_.execute(std::move(request));
  if (reply.error) return *reply.error;
  u128 used = 0;
  for (const std::optional<ledger::Account>& account : reply.lookups) {
    if (account) used += account->debits_posted + account->debits_pending;
  }
  return used;
}

Result<u128> BudgetKeeper::open(const Budget& budget, Timestamp now) {
  i64 period = period_at(budget.period, now).number;
  u128 id = budget_account(budget, period, budget.generation);
  TG_ASSIGN(u128 used, close_older(budget, period));
  u128 amount = static_cast<u128>(std::max<i64>(0, budget.amount_nst));
  u128 target = amount > used ? amount - used : 0;
  ledger::Request request;
  request.accounts.push_back(account_of(pool_account(), ledger::account_code::kBudgetPool, 0));
  request.accounts.push_back(
      account_of(budget_sink_account(), ledger::account_code::kBudgetPool, 0));
  request.accounts.push_back(account_of(id, ledger::account_code::kBudget,
                                        ledger::account_flag::kDebitsMustNotExceedCredits));
  request.lookups.push_back(id);
  ledger::Reply made = ledger_.execute(std::move(request));
  if (!made.succeeded()) return Error{Code::kIo, "ledger: " + made.failure()};
  TG_ASSERT(made.lookups.size() == 1 && made.lookups[0].has_value());
  u128 granted = made.lookups[0]->credits_posted;
  if (granted >= target) return id;
  ledger::Transfer grant;
  grant.id =
      ledger::id_from_name(fmt::format("budget-grant/{}/{}", to_hex(id), static_cast<u64>(target)));
  grant.debit_account = pool_account();
  grant.credit_account = id;
  grant.amount = target - granted;
  grant.ledger = ledger::ledgers::kBudget;
  grant.code = ledger::transfer_code::kGrant;
  ledger::Request funding;
  funding.transfers.push_back(grant);
  ledger::Reply funded = ledger_.execute(std::move(funding));
  if (!funded.succeeded()) return Error{Code::kIo, "ledger: " + funded.failure()};
  return id;
}

}  // namespace tg::gateway
