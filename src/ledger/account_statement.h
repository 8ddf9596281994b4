// An account's statement over a span of time: what it had at the beginning, every entry that names
// it with the balances after it, what it had at the end. Derived from the journal alone.
#pragma once

#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

struct Balances {
  u128 debits_pending = 0;
  u128 debits_posted = 0;
  u128 credits_pending = 0;
  u128 credits_posted = 0;
  friend bool operator==(const Balances&, const Balances&) = default;
};

struct AccountStatementRow {
  u64 position = 0;
  JournalEntry entry;
  Balances after;
};

struct AccountStatement {
  Balances opening;
  std::vector<AccountStatementRow> rows;  // Oldest first.
  Balances closing;
};

// Entries with from <= time < to. Walks back from the newest entry: the cost is that of the
// account's entries since `from`. kNotFound if there is no such account; kCorrupt if the entries do
// not lead back to an empty account when `from` is the beginning of time.
Result<AccountStatement> make_statement(const StateMachine& machine, u128 account, Timestamp from,
                                        Timestamp to);

// Credits less debits, which may have either sign and 129 bits.
std::string net_text(u128 credits, u128 debits);

}  // namespace tg::ledger
