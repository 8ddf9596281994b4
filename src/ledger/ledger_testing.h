// What several of the ledger's tests need: short transfers, and equality of two machines.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/checked.h"
#include "ledger/id.h"
#include "ledger/state_machine.h"
#include "ledger/store.h"

namespace tg::ledger {

inline Account test_account(u128 id, u16 flags = 0, u32 ledger = ledgers::kMoney) {
  return Account{.id = id, .ledger = ledger, .code = account_code::kBuyerMoney, .flags = flags};
}

inline Transfer test_transfer(u128 id, u128 debit, u128 credit, u128 amount, u16 flags = 0) {
  return Transfer{.id = id,
                  .debit_account = debit,
                  .credit_account = credit,
                  .amount = amount,
                  .ledger = ledgers::kMoney,
                  .code = transfer_code::kHold,
                  .flags = flags};
}

// A machine rebuilt from another's accounts and journal, as a store would.
inline Status rebuild(const StateMachine& from, StateMachine& to) {
  for (Account account : from.accounts()) {
    account.debits_pending = account.debits_posted = 0;
    account.credits_pending = account.credits_posted = 0;
    TG_TRY(to.restore_account(account));
  }
  for (u64 p = 1; p <= from.journal_size(); ++p) TG_TRY(to.restore_entry(from.journal_entry(p)));
  return {};
}

// "" if both hold the same accounts, journal, totals and open holds.
inline std::string difference(const StateMachine& a, const StateMachine& b) {
  Status accounts = compare_accounts(a.accounts(), b.accounts());
  if (!accounts.ok()) return accounts.error().message;
  Status journals = compare_journals(a, b);
  if (!journals.ok()) return journals.error().message;
  if (a.pending_count() != b.pending_count()) return "pending_count";
  if (a.totals().size() != b.totals().size()) return "totals";
  for (std::size_t i = 0; i < a.totals().size(); ++i) {
    if (a.totals()[i] != b.totals()[i]) return "totals of ledger";
  }
  return "";
}

}  // namespace tg::ledger
