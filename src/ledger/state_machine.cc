#include "ledger/state_machine.h"

#include <algorithm>

#include "base/checked.h"
#include "ledger/checks.h"
#include "ledger/memory.h"

namespace tg::ledger {

namespace {

constexpr i64 kNanosecondsPerMillisecond = 1'000'000;
// How many transfers ahead of the one in hand slots and records are fetched into the cache: far
// enough for memory to answer, near enough that they are still there.
constexpr std::size_t kSlotsAhead = 16;
constexpr std::size_t kRecordsAhead = 8;

void move(u128& balance, u128 amount, bool is_added) {
  std::optional<u128> moved =
      is_added ? checked_add(balance, amount) : checked_sub(balance, amount);
  TG_ASSERT(moved.has_value());
  balance = *moved;
}

bool is_within_limit(const Account& a) {
  if ((a.flags & account_flag::kDebitsMustNotExceedCredits) != 0)
    return a.debits_pending + a.debits_posted <= a.credits_posted;
  if ((a.flags & account_flag::kCreditsMustNotExceedDebits) != 0)
    return a.credits_pending + a.credits_posted <= a.debits_posted;
  return true;
}

}  // namespace

// --- accounts -----------------------------------------------------------------------------------

AccountStatus StateMachine::create_account(const Account& account, Timestamp now) {
  AccountStatus form = check_form(account);
  if (form != AccountStatus::kOk) return form;
  u32 known = find_slot(account.id);
  if (known != kNoSlot) return compare_fields(account, accounts_[known]);
  clamp_time(now);
  Account created = account;
  created.timestamp_ns = last_ns_;
  u32 slot = static_cast<u32>(accounts_.size());
  accounts_.push_back(created);
  extras_.push_back({.totals_slot = totals_slot_of(account.ledger)});
  account_index_.insert(account.id, slot + 1);
  note_changed(slot);
  return AccountStatus::kOk;
}

AccountStatus StateMachine::close_account(u128 id, Timestamp now) {
  u32 slot = find_slot(id);
  if (slot == kNoSlot) return AccountStatus::kNotFound;
  clamp_time(now);
  if ((accounts_[slot].flags & account_flag::kClosed) != 0) return AccountStatus::kOk;
  accounts_[slot].flags |= account_flag::kClosed;
  note_changed(slot);
  return AccountStatus::kOk;
}

u32 StateMachine::totals_slot_of(u32 ledger) {
  u32 value = totals_index_.find(ledger, [&](u32 v) { return u128{totals_[v - 1].ledger}; });
  if (value != IdIndex::kNone) return value - 1;
  totals_.push_back({.ledger = ledger});
  totals_index_.insert(ledger, static_cast<u32>(totals_.size()));
  return static_cast<u32>(totals_.size()) - 1;
}

// --- time and batches ---------------------------------------------------------------------------

void StateMachine::clamp_time(Timestamp now) {
  TG_ASSERT(now.ns >= 0);
  TG_ASSERT(now.ns <= kTimestampNsMax);
  last_ns_ = std::max(last_ns_, now.ns);
}

void StateMachine::advance_to(Timestamp now) {
  clamp_time(now);
  while (!expiries_.empty() && expiries_.top().at_ns <= last_ns_) {
    u32 position = expiries_.top().position;
    expiries_.pop();
    // Most holds were posted or voided long before their time.
    if (entry_at(position).state == PendingState::kPending)
      apply_release(position, transfer_code::kExpireHold);
  }
}

i64 StateMachine::expire(Timestamp now) {
  u64 before = journal_size_;
  advance_to(now);
  return static_cast<i64>(journal_size_ - before);
}

i64 StateMachine::release_open(u16 code, Timestamp now, const std::function<bool(u64)>& is_chosen) {
  u64 before = journal_size_;
  advance_to(now);
  for (u32 position : open_positions()) {
    if (entry_at(position).transfer.code == code && is_chosen(position))
      apply_release(position, transfer_code::kVoid);
  }
  return static_cast<i64>(journal_size_ - before);
}

void StateMachine::apply(std::span<const Transfer> batch, Timestamp now,
                         std::vector<TransferStatus>& out) {
  out.assign(batch.size(), TransferStatus::kOk);
  std::span<TransferStatus> statuses = out;
  advance_to(now);
  for (const Transfer& t : batch.first(std::min(batch.size(), kSlotsAhead))) prefetch_slots(t);
  for (const Transfer& t : batch.first(std::min(batch.size(), kRecordsAhead))) prefetch_records(t);
  std::size_t first = 0;
  while (first < batch.size()) {
    std::size_t last = first;
    while (last < batch.size() && is_linked(batch[last])) ++last;
    if (last == batch.size()) {
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(),
                TransferStatus::kLinkedEventFailed);
      out.back() = TransferStatus::kLinkedEventChainOpen;
      return;
    }
    for (std::size_t i = first; i <= last; ++i) {
      if (i + kSlotsAhead < batch.size()) prefetch_slots(batch[i + kSlotsAhead]);
      if (i + kRecordsAhead < batch.size()) prefetch_records(batch[i + kRecordsAhead]);
    }
    std::size_t count = last + 1 - first;
    apply_chain(batch.subspan(first, count), statuses.subspan(first, count));
    first = last + 1;
  }
}

void StateMachine::apply_chain(std::span<const Transfer> chain, std::span<TransferStatus> out) {
  u64 size_before = journal_size_;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    TransferStatus status = apply_one(chain[i]);
    out[i] = status;
    if (succeeded(status)) continue;
    undo_back_to(size_before);
    std::fill(out.begin(), out.end(), TransferStatus::kLinkedEventFailed);
    out[i] = status;
    if (burns_id(status)) record_failure(chain[i], status);
    return;
  }
  for (u64 p = size_before + 1; p <= journal_size_; ++p) watch_expiry(static_cast<u32>(p));
}

void StateMachine::undo_back_to(u64 size) {
  while (journal_size_ > size) {
    JournalEntry& entry = entry_at(journal_size_);
    TG_ASSERT(entry.kind == EntryKind::kTransfer);
    Parties parties = parties_of(entry.transfer);
    move_balances(entry, parties, false);
    if (entry.pending_position != 0) set_hold_state(entry.pending_position, PendingState::kPending);
    if (entry.state == PendingState::kPending) --pending_count_;
    extras_[parties.debit].entry_last = entry.debit_previous;
    extras_[parties.credit].entry_last = entry.credit_previous;
    transfer_index_.erase(entry.transfer.id, static_cast<u32>(journal_size_));
    --journal_size_;
    assert_invariants(parties);
  }
}

// --- one transfer -------------------------------------------------------------------------------

TransferStatus StateMachine::apply_one(const Transfer& t) {
  TransferStatus form = check_form(t);
  if (form != TransferStatus::kOk) return form;
  u32 known = find_position(t.id);
  if (known != 0) return compare_known(t, journal_entry(known));
  return is_resolution(t) ? apply_resolution(t) : apply_new(t);
}

TransferStatus StateMachine::apply_new(const Transfer& t) {
  Parties parties = parties_of(t);
  TransferStatus status = check_parties(t, parties);
  if (status == TransferStatus::kOk) status = check_open(parties);
  if (status == TransferStatus::kOk) status = check_limits(t, parties);
  if (status != TransferStatus::kOk) return status;
  record(t, EntryKind::kTransfer, 0, parties);
  return TransferStatus::kOk;
}

TransferStatus StateMachine::apply_resolution(const Transfer& t) {
  u32 pending_position = find_position(t.pending_id);
  TransferStatus status = check_resolution(t, pending_position);
  if (status != TransferStatus::kOk) return status;
  const Transfer& hold = entry_at(pending_position).transfer;
  Transfer filled = t;
  filled.debit_account = hold.debit_account;
  filled.credit_account = hold.credit_account;
  filled.ledger = hold.ledger;
  if (is_void(t)) filled.amount = hold.amount;
  record(filled, EntryKind::kTransfer, pending_position, parties_of(hold));
  return TransferStatus::kOk;
}

void StateMachine::apply_release(u32 pending_position, u16 code) {
  Transfer release = entry_at(pending_position).transfer;
  release.pending_id = release.id;
  release.id = 0;
  release.timeout_ms = 0;
  release.code = code;
  release.flags = transfer_flag::kVoidPending;
  record(release, EntryKind::kRelease, pending_position, parties_of(release));
}

// --- checks, each in the order of TransferStatus ------------------------------------------------

TransferStatus StateMachine::compare_known(const Transfer& t, const JournalEntry& known) const {
  if (known.kind == EntryKind::kFailedId) return TransferStatus::kIdAlreadyFailed;
  return compare_fields(t, known.transfer);
}

TransferStatus StateMachine::check_parties(const Transfer& t, Parties parties) const {
  if (parties.debit == kNoSlot) return TransferStatus::kDebitAccountNotFound;
  if (parties.credit == kNoSlot) return TransferStatus::kCreditAccountNotFound;
  u32 ledger = accounts_[parties.debit].ledger;
  if (ledger != accounts_[parties.credit].ledger)
    return TransferStatus::kAccountsOnDifferentLedgers;
  if (ledger != t.ledger) return TransferStatus::kWrongLedger;
  return TransferStatus::kOk;
}

TransferStatus StateMachine::check_open(Parties parties) const {
  if ((accounts_[parties.debit].flags & account_flag::kClosed) != 0)
    return TransferStatus::kDebitAccountClosed;
  if ((accounts_[parties.credit].flags & account_flag::kClosed) != 0)
    return TransferStatus::kCreditAccountClosed;
  return TransferStatus::kOk;
}

TransferStatus StateMachine::check_limits(const Transfer& t, Parties parties) const {
  // The ledger's turnover bounds every sum of every account in it, on both sides.
  const LedgerTotals& totals = totals_[extras_[parties.debit].totals_slot];
  u128 turnover = totals.debits_pending + totals.debits_posted;
  if (!checked_add(turnover, t.amount).has_value()) return TransferStatus::kOverflow;
  const Account& debit = accounts_[parties.debit];
  if ((debit.flags & account_flag::kDebitsMustNotExceedCredits) != 0 &&
      debit.debits_pending + debit.debits_posted + t.amount > debit.credits_posted)
    return TransferStatus::kExceedsCredits;
  const Account& credit = accounts_[parties.credit];
  if ((credit.flags & account_flag::kCreditsMustNotExceedDebits) != 0 &&
      credit.credits_pending + credit.credits_posted + t.amount > credit.debits_posted)
    return TransferStatus::kExceedsDebits;
  return TransferStatus::kOk;
}

TransferStatus StateMachine::check_resolution(const Transfer& t, u32 pending_position) const {
  if (pending_position == 0) return TransferStatus::kPendingNotFound;
  const JournalEntry& entry = journal_entry(pending_position);
  if (entry.kind == EntryKind::kFailedId) return TransferStatus::kPendingNotFound;
  if (entry.state == PendingState::kNone) return TransferStatus::kNotPending;
  const Transfer& hold = entry.transfer;
  if (t.debit_account != 0 && t.debit_account != hold.debit_account)
    return TransferStatus::kPendingHasDifferentDebitAccount;
  if (t.credit_account != 0 && t.credit_account != hold.credit_account)
    return TransferStatus::kPendingHasDifferentCreditAccount;
  if (t.ledger != 0 && t.ledger != hold.ledger) return TransferStatus::kPendingHasDifferentLedger;
  if (entry.state == PendingState::kPosted) return TransferStatus::kAlreadyPosted;
  if (entry.state == PendingState::kVoided) return TransferStatus::kAlreadyVoided;
  if (entry.state == PendingState::kExpired) return TransferStatus::kExpired;
  if (t.amount > hold.amount) return TransferStatus::kExceedsPendingAmount;
  if (is_void(t) && t.amount != 0 && t.amount != hold.amount)
    return TransferStatus::kPendingHasDifferentAmount;
  return TransferStatus::kOk;
}

// --- effects ------------------------------------------------------------------------------------

void StateMachine::record(const Transfer& t, EntryKind kind, u32 pending_position,
                          Parties parties) {
  JournalEntry& entry = append(t, kind);
  u32 position = static_cast<u32>(journal_size_);
  entry.pending_position = pending_position;
  entry.debit_previous = extras_[parties.debit].entry_last;
  entry.credit_previous = extras_[parties.credit].entry_last;
  extras_[parties.debit].entry_last = position;
  extras_[parties.credit].entry_last = position;
  if (is_pending(t)) {
    entry.state = PendingState::kPending;
    ++pending_count_;
  }
  move_balances(entry, parties, true);
  if (pending_position != 0) set_hold_state(pending_position, state_after(t, kind));
  note_changed(parties.debit);
  note_changed(parties.credit);
  assert_invariants(parties);
}

void StateMachine::record_failure(const Transfer& t, TransferStatus status) {
  append(t, EntryKind::kFailedId).status = status;
}

JournalEntry& StateMachine::append(const Transfer& t, EntryKind kind) {
  TG_ASSERT(journal_size_ < kJournalEntriesMax);
  if (journal_size_ == blocks_.size() * kJournalBlockEntries) add_blocks();
  ++journal_size_;
  JournalEntry& entry = entry_at(journal_size_);
  entry = JournalEntry{.transfer = t, .kind = kind};
  entry.transfer.timestamp_ns = last_ns_;
  // The ledger's own releases carry no id that a client could meet.
  if (kind != EntryKind::kRelease) transfer_index_.insert(t.id, static_cast<u32>(journal_size_));
  return entry;
}

// A small ledger takes one at a time, a large one as many as fill two huge pages: what fills one
// not quite would come from the heap.
void StateMachine::add_blocks() {
  constexpr std::size_t kBlockBytes = kJournalBlockEntries * sizeof(JournalEntry);
  constexpr std::size_t kTogether = 2 * kHugePageBytes / kBlockBytes;
  static_assert(kTogether * kBlockBytes > kHugePageBytes);
  if (blocks_.size() < kTogether) {
    blocks_.push_back(std::make_shared<JournalEntry[]>(kJournalBlockEntries));
    return;
  }
  std::shared_ptr<JournalEntry[]> together = std::allocate_shared<JournalEntry[]>(
      HugePageAllocator<JournalEntry>(), kTogether * kJournalBlockEntries);
  for (std::size_t i = 0; i < kTogether; ++i)
    blocks_.emplace_back(together, together.get() + i * kJournalBlockEntries);
}

void StateMachine::move_balances(const JournalEntry& entry, Parties parties, bool is_forward) {
  Account& debit = accounts_[parties.debit];
  Account& credit = accounts_[parties.credit];
  LedgerTotals& totals = totals_[extras_[parties.debit].totals_slot];
  auto move_pending = [&](u128 amount, bool is_added) {
    move(debit.debits_pending, amount, is_added);
    move(credit.credits_pending, amount, is_added);
    move(totals.debits_pending, amount, is_added);
    move(totals.credits_pending, amount, is_added);
  };
  auto move_posted = [&](u128 amount, bool is_added) {
    move(debit.debits_posted, amount, is_added);
    move(credit.credits_posted, amount, is_added);
    move(totals.debits_posted, amount, is_added);
    move(totals.credits_posted, amount, is_added);
  };
  const Transfer& t = entry.transfer;
  if (is_pending(t)) return move_pending(t.amount, is_forward);
  if (entry.pending_position != 0)
    move_pending(entry_at(entry.pending_position).transfer.amount, !is_forward);
  if (!is_void(t)) move_posted(t.amount, is_forward);
}

PendingState StateMachine::state_after(const Transfer& t, EntryKind kind) {
  if (is_post(t)) return PendingState::kPosted;
  bool has_expired = kind == EntryKind::kRelease && t.code == transfer_code::kExpireHold;
  return has_expired ? PendingState::kExpired : PendingState::kVoided;
}

void StateMachine::set_hold_state(u32 position, PendingState state) {
  JournalEntry& hold = entry_at(position);
  // A hold resolves once; only undoing a chain opens it again.
  TG_ASSERT((hold.state == PendingState::kPending) != (state == PendingState::kPending));
  pending_count_ += state == PendingState::kPending ? 1 : -1;
  hold.state = state;
}

void StateMachine::watch_expiry(u32 position) {
  const JournalEntry& entry = entry_at(position);
  if (entry.transfer.timeout_ms == 0 || entry.state != PendingState::kPending) return;
  i64 timeout_ns = i64{entry.transfer.timeout_ms} * kNanosecondsPerMillisecond;
  expiries_.push({.at_ns = entry.transfer.timestamp_ns + timeout_ns, .position = position});
}

void StateMachine::note_changed(u32 slot) {
  if (extras_[slot].changed) return;
  extras_[slot].changed = true;
  changed_.push_back(slot);
}

void StateMachine::assert_invariants(Parties parties) const {
  const LedgerTotals& totals = totals_[extras_[parties.debit].totals_slot];
  TG_ASSERT(totals.debits_pending == totals.credits_pending);
  TG_ASSERT(totals.debits_posted == totals.credits_posted);
  TG_ASSERT(is_within_limit(accounts_[parties.debit]));
  TG_ASSERT(is_within_limit(accounts_[parties.credit]));
  TG_ASSERT(pending_count_ >= 0);
}

void StateMachine::take_effects(Effects& out, bool with_balances) {
  out.accounts.clear();
  out.entries.clear();
  for (u32 slot : changed_) {
    extras_[slot].changed = false;
    bool is_new = slot >= accounts_taken_;
    bool is_wanted =
        with_balances || is_new || (accounts_[slot].flags & account_flag::kClosed) != 0;
    if (is_wanted)
      out.accounts.push_back({.number = slot + 1, .is_new = is_new, .account = accounts_[slot]});
  }
  changed_.clear();
  accounts_taken_ = accounts_.size();
  out.position_first = journal_taken_ + 1;
  out.entries.reserve(journal_size_ - journal_taken_);
  for (u64 p = out.position_first; p <= journal_size_; ++p) out.entries.push_back(entry_at(p));
  journal_taken_ = journal_size_;
}

// --- look-ups -----------------------------------------------------------------------------------

void StateMachine::prefetch_slots(const Transfer& t) const {
  transfer_index_.prefetch(t.id);
  if (is_resolution(t)) return transfer_index_.prefetch(t.pending_id);
  account_index_.prefetch(t.debit_account);
  account_index_.prefetch(t.credit_account);
}

void StateMachine::prefetch_records(const Transfer& t) const {
  if (is_resolution(t)) {
    u32 hold = transfer_index_.guess(t.pending_id);
    if (hold != IdIndex::kNone) prefetch_for_write(&journal_entry(hold));
    return;
  }
  prefetch_account(t.debit_account);
  prefetch_account(t.credit_account);
}

void StateMachine::prefetch_account(u128 id) const {
  u32 value = account_index_.guess(id);
  if (value == IdIndex::kNone) return;
  const Account& account = accounts_[value - 1];
  prefetch_for_write(&account);
  prefetch_for_write(&account.owner);
  prefetch_for_write(&extras_[value - 1]);
}

JournalEntry& StateMachine::entry_at(u64 position) {
  return blocks_[(position - 1) / kJournalBlockEntries][(position - 1) % kJournalBlockEntries];
}

const JournalEntry& StateMachine::journal_entry(u64 position) const {
  TG_ASSERT(position >= 1 && position <= journal_size_);
  return blocks_[(position - 1) / kJournalBlockEntries][(position - 1) % kJournalBlockEntries];
}

u32 StateMachine::find_position(u128 id) const {
  return transfer_index_.find(id, [&](u32 p) { return journal_entry(p).transfer.id; });
}

u32 StateMachine::find_slot(u128 id) const {
  // IdIndex::kNone is 0, so that minus one is kNoSlot.
  return account_index_.find(id, [&](u32 value) { return accounts_[value - 1].id; }) - 1;
}

StateMachine::Parties StateMachine::parties_of(const Transfer& t) const {
  return {.debit = find_slot(t.debit_account), .credit = find_slot(t.credit_account)};
}

const Account* StateMachine::find_account(u128 id) const {
  u32 slot = find_slot(id);
  return slot == kNoSlot ? nullptr : &accounts_[slot];
}

const Transfer* StateMachine::find_transfer(u128 id) const {
  u32 position = find_position(id);
  if (position == 0 || journal_entry(position).kind == EntryKind::kFailedId) return nullptr;
  return &journal_entry(position).transfer;
}

PendingState StateMachine::pending_state(u128 id) const {
  u32 position = find_position(id);
  return position == 0 ? PendingState::kNone : journal_entry(position).state;
}

bool StateMachine::id_has_failed(u128 id) const {
  u32 position = find_position(id);
  return position != 0 && journal_entry(position).kind == EntryKind::kFailedId;
}

std::vector<u32> StateMachine::open_positions() const {
  // Open holds are short-lived and so near the end: walking back until all are found is short.
  std::vector<u32> positions;
  for (u64 p = journal_size_; static_cast<i64>(positions.size()) < pending_count_; --p) {
    if (journal_entry(p).state == PendingState::kPending) positions.push_back(static_cast<u32>(p));
  }
  std::reverse(positions.begin(), positions.end());
  return positions;
}

std::vector<Transfer> StateMachine::pending_transfers() const {
  std::vector<Transfer> out;
  for (u32 position : open_positions()) out.push_back(journal_entry(position).transfer);
  return out;
}

static bool concerns(const JournalEntry& entry, u128 account) {
  return entry.kind != EntryKind::kFailedId &&
         (entry.transfer.debit_account == account || entry.transfer.credit_account == account);
}

Statement StateMachine::statement(const StatementQuery& query) const {
  Statement out;
  u32 slot = find_slot(query.account);
  if (slot == kNoSlot) return out;
  auto previous = [&](u64 p) {
    const JournalEntry& entry = journal_entry(p);
    bool is_debit = entry.transfer.debit_account == query.account;
    return u64{is_debit ? entry.debit_previous : entry.credit_previous};
  };
  u64 position = extras_[slot].entry_last;
  u64 before = query.before == 0 ? journal_size_ + 1 : query.before;
  // A page's next_before is one of the account's own entries: go on from there.
  if (before <= journal_size_ && concerns(journal_entry(before), query.account)) position = before;
  while (position >= before && position != 0) position = previous(position);
  i64 limit = std::clamp<i64>(query.limit, 1, kStatementLinesMax);
  for (; position != 0 && limit > 0; position = previous(position), --limit)
    out.lines.push_back({.position = position, .entry = journal_entry(position)});
  if (position != 0) out.next_before = out.lines.back().position;
  return out;
}

}  // namespace tg::ledger
