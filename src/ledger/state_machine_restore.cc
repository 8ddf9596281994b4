// Rebuilding a state machine from a store. Every stored entry is decided again; what the file says
// is outside input, so a contradiction is an error, never an assertion.
#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "ledger/checks.h"
#include "ledger/id.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

// Whether `stored` is a known account, now closed and otherwise the same. Stores repeat it for a
// closed account whose holds resolve later.
static bool is_closure(const Account& known, const Account& stored) {
  if ((stored.flags & account_flag::kClosed) == 0) return false;
  Account closed = known;
  closed.flags |= account_flag::kClosed;
  return compare_fields(stored, closed) == AccountStatus::kExists &&
         stored.timestamp_ns == known.timestamp_ns;
}

Status StateMachine::restore_account(const Account& account) {
  auto corrupt = [&](const std::string& what) {
    return Error{Code::kCorrupt, "account " + to_hex(account.id) + ": " + what};
  };
  u32 known = find_slot(account.id);
  if (known != kNoSlot && is_closure(accounts_[known], account)) {
    accounts_[known].flags |= account_flag::kClosed;
    return {};
  }
  i64 newest_ns = accounts_.empty() ? 0 : accounts_.back().timestamp_ns;
  if (account.timestamp_ns < newest_ns || account.timestamp_ns > kTimestampNsMax)
    return corrupt("timestamp " + std::to_string(account.timestamp_ns) + " is out of order");
  i64 newest_known_ns = std::max(last_ns_, account.timestamp_ns);
  last_ns_ = account.timestamp_ns;
  AccountStatus status = create_account(account, Timestamp{account.timestamp_ns});
  last_ns_ = newest_known_ns;
  if (status != AccountStatus::kOk) return corrupt(name(status));
  forget_effects();
  return {};
}

// Decides a stored entry again, as if it arrived now; accounts may have been closed since.
TransferStatus StateMachine::check_restored(const JournalEntry& entry, Place& place) const {
  const Transfer& t = entry.transfer;
  if (entry.kind != EntryKind::kRelease) {
    TransferStatus form = check_form(t);
    if (form != TransferStatus::kOk) return form;
    if (find_position(t.id) != 0) return TransferStatus::kExists;
  }
  if (entry.kind == EntryKind::kFailedId) return TransferStatus::kOk;
  if (entry.kind == EntryKind::kRelease && t.flags != transfer_flag::kVoidPending)
    return TransferStatus::kReservedFlag;
  place.parties = parties_of(t);
  TransferStatus status = check_parties(t, place.parties);
  if (status != TransferStatus::kOk) return status;
  if (!is_resolution(t)) return check_limits(t, place.parties);
  place.pending_position = find_position(t.pending_id);
  return check_resolution(t, place.pending_position);
}

Status StateMachine::restore_entry(const JournalEntry& entry) {
  const Transfer& t = entry.transfer;
  auto corrupt = [&](const std::string& what) {
    return Error{Code::kCorrupt, "journal entry " + std::to_string(journal_.size() + 1) +
                                     " (transfer " + to_hex(t.id) + "): " + what};
  };
  // Accounts were restored first, and the youngest may be younger than this entry.
  i64 newest_ns = journal_.size() == 0 ? 0 : journal_.transfer(journal_.size()).timestamp_ns;
  if (t.timestamp_ns < newest_ns || t.timestamp_ns > kTimestampNsMax)
    return corrupt("timestamp " + std::to_string(t.timestamp_ns) + " is out of order");
  if ((entry.kind == EntryKind::kFailedId) != burns_id(entry.status))
    return corrupt(std::string("stored status ") + name(entry.status));
  if (journal_.size() == kJournalEntriesMax) return corrupt("the journal is full");
  Place place;
  TransferStatus status = check_restored(entry, place);
  if (status != TransferStatus::kOk) return corrupt(name(status));

  i64 newest_known_ns = std::max(last_ns_, t.timestamp_ns);
  last_ns_ = t.timestamp_ns;
  if (entry.kind == EntryKind::kFailedId) {
    record_failure(t, entry.status);
  } else {
    record(t, entry.kind, place.pending_position, place.parties);
    watch_expiry(static_cast<u32>(journal_.size()));
  }
  last_ns_ = newest_known_ns;
  forget_effects();
  return {};
}

void StateMachine::forget_effects() {
  for (u32 slot : changed_) extras_[slot].changed = false;
  changed_.clear();
  accounts_taken_ = accounts_.size();
  journal_taken_ = journal_.size();
}

}  // namespace tg::ledger
