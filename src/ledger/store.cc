#include "ledger/store.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/id.h"

namespace tg::ledger {

void Store::stage(const Effects& effects, std::span<DocumentWrite> documents) {
  staged_[staged_count_++ % staged_.size()] = {.effects = &effects, .documents = documents};
}

Status Store::sync() {
  const Staged& staged = staged_[synced_count_++ % staged_.size()];
  TG_ASSERT(staged.effects != nullptr);
  return commit(*staged.effects, staged.documents);
}

Result<AuditReport> Store::audit(const StateMachine* live) {
  TG_TRY(check_medium());
  StateMachine scratch;
  TG_ASSIGN(AuditReport report, replay(scratch));
  if (live == nullptr) return report;
  TG_TRY(compare_accounts(scratch.accounts(), live->accounts()));
  TG_TRY(compare_journals(scratch, *live));
  return report;
}

Status compare_journals(const StateMachine& stored, const StateMachine& live) {
  if (stored.journal_size() != live.journal_size()) {
    return Error{Code::kCorrupt, "journal: " + std::to_string(stored.journal_size()) +
                                     " entries stored, " + std::to_string(live.journal_size()) +
                                     " live"};
  }
  // What a machine reads back from the store is not compared with the store.
  auto is_same = [&](u64 p) {
    if (stored.journal().is_in_memory(p) && live.journal().is_in_memory(p))
      return stored.journal_entry(p) == live.journal_entry(p);
    return stored.journal().record(p) == live.journal().record(p);
  };
  for (u64 p = 1; p <= stored.journal_size(); ++p) {
    if (!is_same(p))
      return Error{Code::kCorrupt,
                   "journal entry " + std::to_string(p) + " differs from the live one"};
  }
  return {};
}

Status compare_accounts(std::span<const Account> stored, std::span<const Account> derived) {
  if (stored.size() != derived.size()) {
    return Error{Code::kCorrupt, "accounts: " + std::to_string(stored.size()) + " stored, " +
                                     std::to_string(derived.size()) + " derived"};
  }
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Account& s = stored[i];
    const Account& d = derived[i];
    if (s == d) continue;
    auto pair = [](const char* what, u128 a, u128 b) {
      return std::string(" ") + what + " " + to_string(a) + "/" + to_string(b);
    };
    return Error{Code::kCorrupt, "account " + to_hex(s.id) + ": stored/derived balances differ:" +
                                     pair("debits_pending", s.debits_pending, d.debits_pending) +
                                     pair("debits_posted", s.debits_posted, d.debits_posted) +
                                     pair("credits_pending", s.credits_pending, d.credits_pending) +
                                     pair("credits_posted", s.credits_posted, d.credits_posted)};
  }
  return {};
}

Status check_sums(const StateMachine& state) {
  for (const LedgerTotals& totals : state.totals()) {
    // Modulo 2^128 both sides wrap alike, and the machine refuses turnovers that would wrap.
    LedgerTotals sum{.ledger = totals.ledger};
    for (const Account& a : state.accounts()) {
      if (a.ledger != totals.ledger) continue;
      sum.debits_pending += a.debits_pending;
      sum.credits_pending += a.credits_pending;
      sum.debits_posted += a.debits_posted;
      sum.credits_posted += a.credits_posted;
    }
    if (sum != totals || sum.debits_pending != sum.credits_pending ||
        sum.debits_posted != sum.credits_posted) {
      return Error{Code::kCorrupt, "ledger " + std::to_string(totals.ledger) + ": debits posted " +
                                       to_string(sum.debits_posted) + ", credits posted " +
                                       to_string(sum.credits_posted)};
    }
  }
  return {};
}

}  // namespace tg::ledger
