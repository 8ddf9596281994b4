// Images of a state machine, and rebuilding from one the short way: what deciding every entry found
// out was kept, so nothing is decided again. The audit, which does decide again, says whether the
// two ways agree.
#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/checks.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

EntryLinks StateImage::links(u64 position) const {
  TG_ASSERT(position >= 1 && position <= entries_);
  const JournalEntry& entry =
      blocks_[(position - 1) / kJournalBlockEntries][(position - 1) % kJournalBlockEntries];
  return {.debit_previous = entry.debit_previous,
          .credit_previous = entry.credit_previous,
          .pending_position = entry.pending_position};
}

StateImage StateMachine::image() const {
  TG_ASSERT(changed_.empty() && journal_taken_ == journal_size_);
  StateImage out;
  out.accounts_ = accounts_;
  out.entries_last_.reserve(extras_.size());
  for (const AccountExtra& extra : extras_) out.entries_last_.push_back(extra.entry_last);
  out.entries_ = journal_size_;
  out.blocks_.assign(blocks_.begin(), blocks_.end());
  return out;
}

static Error corrupt(const std::string& what) {
  return Error{Code::kCorrupt, "snapshot: " + what};
}

// Adds `amount` unless the sum would pass 128 bits.
static bool add(u128& sum, u128 amount) {
  std::optional<u128> total = checked_add(sum, amount);
  sum = total.value_or(sum);
  return total.has_value();
}

Status StateMachine::add_restored_account(const Account& account, u32 entry_last) {
  Account bare = account;
  bare.debits_pending = bare.debits_posted = bare.credits_pending = bare.credits_posted = 0;
  bare.flags &= static_cast<u16>(~account_flag::kClosed);
  i64 newest_ns = accounts_.empty() ? 0 : accounts_.back().timestamp_ns;
  bool is_known = find_slot(account.id) != kNoSlot;
  if (check_form(bare) != AccountStatus::kOk || is_known || account.timestamp_ns < newest_ns ||
      account.timestamp_ns > kTimestampNsMax)
    return corrupt("account " + to_hex(account.id) + " cannot be");
  u32 totals_slot = totals_slot_of(account.ledger);
  LedgerTotals& totals = totals_[totals_slot];
  bool fits = add(totals.debits_pending, account.debits_pending) &&
              add(totals.debits_posted, account.debits_posted) &&
              add(totals.credits_pending, account.credits_pending) &&
              add(totals.credits_posted, account.credits_posted);
  if (!fits) return corrupt("the balances pass 128 bits");
  account_index_.insert(account.id, static_cast<u32>(accounts_.size()) + 1);
  accounts_.push_back(account);
  extras_.push_back({.totals_slot = totals_slot, .entry_last = entry_last});
  return {};
}

Status StateMachine::begin_restored(std::span<const Account> accounts,
                                    std::span<const u32> entries_last, u64 entries) {
  TG_ASSERT(journal_size_ == 0 && accounts_.empty());
  TG_ASSERT(accounts.size() == entries_last.size());
  if (entries > kJournalEntriesMax) return corrupt(std::to_string(entries) + " entries");
  accounts_.reserve(accounts.size());
  extras_.reserve(accounts.size());
  account_index_.reserve(accounts.size());
  transfer_index_.reserve(entries);
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    if (entries_last[i] > entries) return corrupt("an account's newest entry is beyond the last");
    TG_TRY(add_restored_account(accounts[i], entries_last[i]));
  }
  if (!accounts_.empty()) last_ns_ = accounts_.back().timestamp_ns;
  return {};
}

Status StateMachine::check_restored_links(const JournalEntry& entry,
                                          const EntryLinks& links) const {
  auto wrong = [&](const char* what) {
    return corrupt("entry " + std::to_string(journal_size_ + 1) + ": " + what);
  };
  if ((entry.kind == EntryKind::kFailedId) != burns_id(entry.status)) return wrong("status");
  if (links.debit_previous > journal_size_ || links.credit_previous > journal_size_)
    return wrong("links");
  bool is_resolving = entry.kind != EntryKind::kFailedId && is_resolution(entry.transfer);
  if (is_resolving != (links.pending_position != 0)) return wrong("hold");
  if (!is_resolving) return {};
  if (links.pending_position > journal_size_ ||
      journal_entry(links.pending_position).state != PendingState::kPending)
    return wrong("hold");
  return {};
}

Status StateMachine::restore_decided(const JournalEntry& entry, const EntryLinks& links) {
  TG_TRY(check_restored_links(entry, links));
  i64 newest_known_ns = last_ns_;
  last_ns_ = entry.transfer.timestamp_ns;
  JournalEntry& placed = append(entry.transfer, entry.kind);
  last_ns_ = std::max(newest_known_ns, entry.transfer.timestamp_ns);
  placed.status = entry.status;
  placed.debit_previous = links.debit_previous;
  placed.credit_previous = links.credit_previous;
  placed.pending_position = links.pending_position;
  if (entry.kind == EntryKind::kFailedId) return {};
  if (is_pending(entry.transfer)) {
    placed.state = PendingState::kPending;
    ++pending_count_;
  }
  if (links.pending_position != 0)
    set_hold_state(links.pending_position, state_after(entry.transfer, entry.kind));
  return {};
}

Status StateMachine::end_restored() {
  LedgerTotals open{};
  for (u32 position : open_positions()) {
    watch_expiry(position);
    open.debits_pending += journal_entry(position).transfer.amount;
  }
  for (const LedgerTotals& totals : totals_) open.credits_pending += totals.debits_pending;
  // Modulo 2^128 both sides wrap alike.
  if (open.debits_pending != open.credits_pending)
    return corrupt("open holds and balances disagree");
  forget_effects();
  return {};
}

}  // namespace tg::ledger
