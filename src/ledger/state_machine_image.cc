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
  u64 index = position - 1;
  return blocks_[index >> block_shift_][index & ((u64{1} << block_shift_) - 1)].links;
}

StateImage StateMachine::image() const {
  TG_ASSERT(changed_.empty() && journal_taken_ == journal_.size());
  StateImage out;
  out.accounts_ = accounts_;
  out.entries_last_.reserve(extras_.size());
  for (const AccountExtra& extra : extras_) out.entries_last_.push_back(extra.entry_last);
  out.entries_ = journal_.size();
  out.block_shift_ = journal_.records().shift();
  const std::vector<std::shared_ptr<JournalRecord[]>>& blocks = journal_.records().blocks();
  out.blocks_.assign(blocks.begin(), blocks.end());
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
  TG_ASSERT(journal_.size() == 0 && accounts_.empty());
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
    return corrupt("entry " + std::to_string(journal_.size() + 1) + ": " + what);
  };
  if ((entry.kind == EntryKind::kFailedId) != burns_id(entry.status)) return wrong("status");
  if (links.debit_previous > journal_.size() || links.credit_previous > journal_.size())
    return wrong("links");
  bool is_resolving = entry.kind != EntryKind::kFailedId && is_resolution(entry.transfer);
  if (is_resolving != (links.pending_position != 0)) return wrong("hold");
  if (!is_resolving) return {};
  if (links.pending_position > journal_.size() || !is_open(links.pending_position))
    return wrong("hold");
  return {};
}

Status StateMachine::restore_decided(const JournalEntry& entry, const EntryLinks& links) {
  TG_TRY(check_restored_links(entry, links));
  i64 newest_known_ns = last_ns_;
  last_ns_ = entry.transfer.timestamp_ns;
  u32 position = append(entry.transfer, entry.kind);
  last_ns_ = std::max(newest_known_ns, entry.transfer.timestamp_ns);
  journal_.set_status(position, entry.status);
  journal_.links(position) = links;
  if (entry.kind == EntryKind::kFailedId) return {};
  if (is_pending(entry.transfer)) journal_.set_state(position, PendingState::kPending);
  if (links.pending_position != 0)
    journal_.set_state(links.pending_position, state_after(entry.transfer, entry.kind));
  return {};
}

Status StateMachine::end_restored() {
  LedgerTotals open{};
  for (u32 position : journal_.open_positions()) {
    watch_expiry(position);
    open.debits_pending += journal_.transfer(position).amount;
  }
  for (const LedgerTotals& totals : totals_) open.credits_pending += totals.debits_pending;
  // Modulo 2^128 both sides wrap alike.
  if (open.debits_pending != open.credits_pending)
    return corrupt("open holds and balances disagree");
  forget_effects();
  return {};
}

}  // namespace tg::ledger
