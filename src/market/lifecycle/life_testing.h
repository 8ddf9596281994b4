// A ledger with sources and a budget, as the tests of funding and lifecycle need it.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "ledger/state_machine.h"
#include "market/funding/plan.h"

namespace tg::market {

struct LedgerWorld {
  static constexpr u128 kWash = 1;
  static constexpr u128 kBreakage = 2;
  static constexpr u128 kSeller = 3;
  static constexpr u128 kLimitWash = 50;
  static constexpr u128 kLimitSink = 51;
  static constexpr u128 kLimit = 52;
  static constexpr u32 kLimitLedger = 200;

  ledger::StateMachine machine;
  Timestamp now{1'767'225'600'000'000'000};
  std::vector<FundingSource> sources;
  std::vector<BudgetLimit> limits;
  FundingBooks books{.wash = kWash, .breakage = kBreakage};

  LedgerWorld() {
    add_account(kWash, 0, ledger::ledgers::kStandard);
    add_account(kBreakage, 0, ledger::ledgers::kStandard);
    add_account(kSeller, ledger::account_flag::kDebitsMustNotExceedCredits,
                ledger::ledgers::kStandard);
  }

  void add_account(u128 id, u16 flags, u32 ledger_number) {
    ledger::Account account{.id = id, .ledger = ledger_number, .code = 200, .flags = flags};
    ASSERT_EQ(machine.create_account(account, now), ledger::AccountStatus::kOk);
  }

  void add_bundle(u128 id, u128 amount, FundingSource source = {}) {
    add_account(id, ledger::account_flag::kDebitsMustNotExceedCredits, ledger::ledgers::kStandard);
    source.account = id;
    sources.push_back(source);
    if (amount > 0) apply(grant_chain(books, {.account = id, .amount = amount, .purchase = 1}));
  }

  void add_limit(u128 amount) {
    add_account(kLimitWash, 0, kLimitLedger);
    add_account(kLimitSink, 0, kLimitLedger);
    add_account(kLimit, ledger::account_flag::kDebitsMustNotExceedCredits, kLimitLedger);
    limits.push_back({.account = kLimit, .sink = kLimitSink, .ledger = kLimitLedger});
    FundingBooks of_limits{.ledger = kLimitLedger, .wash = kLimitWash};
    apply(grant_chain(of_limits, {.account = kLimit, .amount = amount, .purchase = 1}));
  }

  std::vector<ledger::TransferStatus> apply(const Chain& chain) {
    std::vector<ledger::TransferStatus> statuses;
    machine.apply(chain, now, statuses);
    return statuses;
  }

  u128 available(u128 account) const { return ledger::available(*machine.find_account(account)); }

  FundingView view() {
    machine.expire(now);
    FundingView out{.sources = sources, .limits = limits};
    for (FundingSource& source : out.sources) source.available = available(source.account);
    for (BudgetLimit& limit : out.limits) limit.available = available(limit.account);
    return out;
  }

  // Posted for a request on the standard ledger, refunds deducted.
  u128 charged(u128 request) const {
    u128 out = 0;
    for (u64 p = 1; p <= machine.journal_size(); ++p) {
      const ledger::JournalEntry& entry = machine.journal_entry(p);
      const ledger::Transfer& t = entry.transfer;
      bool is_posted = entry.kind == ledger::EntryKind::kTransfer &&
                       (t.flags & ledger::transfer_flag::kPostPending) != 0;
      if (is_posted && t.correlation == request && t.ledger == ledger::ledgers::kStandard)
        out += t.amount;
    }
    return out;
  }
};

}  // namespace tg::market
