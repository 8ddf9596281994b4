#include "ledger/account_statement.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/checks.h"

namespace tg::ledger {

namespace {

// The balances before an entry, from those after it.
Balances undo(const StateMachine& machine, const JournalEntry& entry, u128 account,
              Balances after) {
  const Transfer& t = entry.transfer;
  bool is_debit = t.debit_account == account;
  u128& pending = is_debit ? after.debits_pending : after.credits_pending;
  u128& posted = is_debit ? after.debits_posted : after.credits_posted;
  if (is_pending(t)) {
    pending -= t.amount;
    return after;
  }
  if (entry.pending_position != 0)
    pending += machine.journal_entry(entry.pending_position).transfer.amount;
  if (!is_void(t)) posted -= t.amount;
  return after;
}

}  // namespace

Result<AccountStatement> make_statement(const StateMachine& machine, u128 account, Timestamp from,
                                        Timestamp to) {
  const Account* known = machine.find_account(account);
  if (known == nullptr) return Error{Code::kNotFound, "no account " + to_hex(account)};
  AccountStatement out;
  Balances now{.debits_pending = known->debits_pending,
               .debits_posted = known->debits_posted,
               .credits_pending = known->credits_pending,
               .credits_posted = known->credits_posted};
  out.closing = now;
  StatementQuery query{.account = account, .limit = kStatementLinesMax};
  bool is_over = false;
  while (!is_over) {
    Statement page = machine.statement(query);
    for (const StatementLine& line : page.lines) {
      i64 at_ns = line.entry.transfer.timestamp_ns;
      is_over = at_ns < from.ns;
      if (is_over) break;
      if (at_ns < to.ns)
        out.rows.push_back({.position = line.position, .entry = line.entry, .after = now});
      now = undo(machine, line.entry, account, now);
      if (at_ns >= to.ns) out.closing = now;
    }
    query.before = page.next_before;
    is_over = is_over || page.next_before == 0;
  }
  std::reverse(out.rows.begin(), out.rows.end());
  out.opening = now;
  if (from.ns <= 0 && now != Balances{})
    return Error{Code::kCorrupt,
                 "account " + to_hex(account) + ": its entries do not sum up to it"};
  return out;
}

std::string net_text(u128 credits, u128 debits) {
  return credits >= debits ? to_string(credits - debits) : "-" + to_string(debits - credits);
}

}  // namespace tg::ledger
