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
  while (has_due(Timestamp{last_ns_})) {
    std::pop_heap(expiries_.begin(), expiries_.end(), std::greater<>());
    u32 position = expiries_.back().position;
    expiries_.pop_back();
    // Most holds were posted or voided long before their time.
    if (is_open(position)) apply_release(position, transfer_code::kExpireHold);
  }
}

i64 StateMachine::expire(Timestamp now) {
  u64 before = journal_.size();
  advance_to(now);
  return static_cast<i64>(journal_.size() - before);
}

i64 StateMachine::release_open(u16 code, Timestamp now, const std::function<bool(u64)>& is_chosen) {
  u64 before = journal_.size();
  advance_to(now);
  for (u32 position : journal_.open_positions()) {
    if (journal_.transfer(position).code == code && is_chosen(position))
      apply_release(position, transfer_code::kVoid);
  }
  return static_cast<i64>(journal_.size() - before);
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
  u64 size_before = journal_.size();
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
  for (u64 p = size_before + 1; p <= journal_.size(); ++p) watch_expiry(static_cast<u32>(p));
}

void StateMachine::undo_back_to(u64 size) {
  while (journal_.size() > size) {
    u64 last = journal_.size();
    const Transfer undone = journal_.transfer(last);
    const JournalRecord& record = journal_.record(last);
    TG_ASSERT(record.kind == EntryKind::kTransfer);
    const EntryLinks& links = record.links;
    Parties parties = parties_of(undone);
    move_balances(undone, links.pending_position, parties, false);
    if (links.pending_position != 0)
      journal_.set_state(links.pending_position, PendingState::kPending);
    extras_[parties.debit].entry_last = links.debit_previous;
    extras_[parties.credit].entry_last = links.credit_previous;
    transfer_index_.erase(undone.id, static_cast<u32>(last));
    journal_.drop_last();
    assert_invariants(parties);
  }
}

// --- one transfer -------------------------------------------------------------------------------

TransferStatus StateMachine::apply_one(const Transfer& t) {
  TransferStatus form = check_form(t);
  if (form != TransferStatus::kOk) return form;
  u32 known = find_position(t.id);
  if (known != 0) return compare_known(t, known);
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
  const Transfer hold = journal_.transfer(pending_position);
  Transfer filled = t;
  filled.debit_account = hold.debit_account;
  filled.credit_account = hold.credit_account;
  filled.ledger = hold.ledger;
  if (is_void(t)) filled.amount = hold.amount;
  record(filled, EntryKind::kTransfer, pending_position, parties_of(hold));
  return TransferStatus::kOk;
}

void StateMachine::apply_release(u32 pending_position, u16 code) {
  Transfer release = journal_.transfer(pending_position);
  release.pending_id = release.id;
  release.id = 0;
  release.timeout_ms = 0;
  release.code = code;
  release.flags = transfer_flag::kVoidPending;
  record(release, EntryKind::kRelease, pending_position, parties_of(release));
}

// --- checks, each in the order of TransferStatus ------------------------------------------------

TransferStatus StateMachine::compare_known(const Transfer& t, u32 known) const {
  if (journal_.record(known).kind == EntryKind::kFailedId) return TransferStatus::kIdAlreadyFailed;
  return compare_fields(t, journal_.transfer(known));
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
  const JournalRecord& record = journal_.record(pending_position);
  if (record.kind == EntryKind::kFailedId) return TransferStatus::kPendingNotFound;
  if (record.state == PendingState::kNone) return TransferStatus::kNotPending;
  const Transfer& hold = journal_.transfer(pending_position);
  if (t.debit_account != 0 && t.debit_account != hold.debit_account)
    return TransferStatus::kPendingHasDifferentDebitAccount;
  if (t.credit_account != 0 && t.credit_account != hold.credit_account)
    return TransferStatus::kPendingHasDifferentCreditAccount;
  if (t.ledger != 0 && t.ledger != hold.ledger) return TransferStatus::kPendingHasDifferentLedger;
  if (record.state == PendingState::kPosted) return TransferStatus::kAlreadyPosted;
  if (record.state == PendingState::kVoided) return TransferStatus::kAlreadyVoided;
  if (record.state == PendingState::kExpired) return TransferStatus::kExpired;
  if (t.amount > hold.amount) return TransferStatus::kExceedsPendingAmount;
  if (is_void(t) && t.amount != 0 && t.amount != hold.amount)
    return TransferStatus::kPendingHasDifferentAmount;
  return TransferStatus::kOk;
}

// --- effects ------------------------------------------------------------------------------------

void StateMachine::record(const Transfer& t, EntryKind kind, u32 pending_position,
                          Parties parties) {
  u32 position = append(t, kind);
  journal_.links(position) = {.debit_previous = extras_[parties.debit].entry_last,
                              .credit_previous = extras_[parties.credit].entry_last,
                              .pending_position = pending_position};
  extras_[parties.debit].entry_last = position;
  extras_[parties.credit].entry_last = position;
  if (is_pending(t)) journal_.set_state(position, PendingState::kPending);
  move_balances(t, pending_position, parties, true);
  if (pending_position != 0) journal_.set_state(pending_position, state_after(t, kind));
  note_changed(parties.debit);
  note_changed(parties.credit);
  assert_invariants(parties);
}

void StateMachine::record_failure(const Transfer& t, TransferStatus status) {
  journal_.set_status(append(t, EntryKind::kFailedId), status);
}

u32 StateMachine::append(const Transfer& t, EntryKind kind) {
  journal_.append(t, kind, last_ns_);
  u32 position = static_cast<u32>(journal_.size());
  // The ledger's own releases carry no id that a client could meet.
  if (kind != EntryKind::kRelease) transfer_index_.insert(t.id, position);
  return position;
}

void StateMachine::move_balances(const Transfer& t, u32 pending_position, Parties parties,
                                 bool is_forward) {
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
  if (is_pending(t)) return move_pending(t.amount, is_forward);
  if (pending_position != 0) move_pending(journal_.transfer(pending_position).amount, !is_forward);
  if (!is_void(t)) move_posted(t.amount, is_forward);
}

PendingState StateMachine::state_after(const Transfer& t, EntryKind kind) {
  if (is_post(t)) return PendingState::kPosted;
  bool has_expired = kind == EntryKind::kRelease && t.code == transfer_code::kExpireHold;
  return has_expired ? PendingState::kExpired : PendingState::kVoided;
}

bool StateMachine::is_open(u64 position) const {
  return journal_.record(position).state == PendingState::kPending;
}

void StateMachine::watch_expiry(u32 position) {
  if (!is_open(position)) return;
  const Transfer& hold = journal_.transfer(position);
  if (hold.timeout_ms == 0) return;
  i64 timeout_ns = i64{hold.timeout_ms} * kNanosecondsPerMillisecond;
  add_expiry({.at_ns = hold.timestamp_ns + timeout_ns, .position = position});
}

// Most holds resolve long before their time. REQUIRES: nothing may be undone any more.
void StateMachine::add_expiry(Expiry expiry) {
  if (expiries_.size() >= expiries_max_) {
    std::erase_if(expiries_, [&](const Expiry& known) { return !is_open(known.position); });
    std::make_heap(expiries_.begin(), expiries_.end(), std::greater<>());
    expiries_max_ = std::max<u64>(kExpiriesFirst, 2 * expiries_.size());
  }
  expiries_.push_back(expiry);
  std::push_heap(expiries_.begin(), expiries_.end(), std::greater<>());
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
  out.entries.reserve(journal_.size() - journal_taken_);
  for (u64 p = out.position_first; p <= journal_.size(); ++p)
    out.entries.push_back(journal_.entry(p));
  journal_taken_ = journal_.size();
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
    if (hold != IdIndex::kNone) journal_.prefetch(hold);
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

JournalEntry StateMachine::journal_entry(u64 position) const {
  TG_ASSERT(position >= 1 && position <= journal_.size());
  return journal_.entry(position);
}

void StateMachine::read_back_from(std::shared_ptr<EntrySource> source, Journal::Window window) {
  TG_ASSERT(journal_.size() == 0);
  journal_ = Journal(window, std::move(source));
}

u32 StateMachine::find_position(u128 id) const {
  return transfer_index_.find(id, [&](u32 p) { return journal_.record(p).id; });
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

std::optional<Transfer> StateMachine::find_transfer(u128 id) const {
  u32 position = find_position(id);
  if (position == 0 || journal_.record(position).kind == EntryKind::kFailedId) return std::nullopt;
  return journal_.transfer(position);
}

PendingState StateMachine::pending_state(u128 id) const {
  u32 position = find_position(id);
  return position == 0 ? PendingState::kNone : journal_.record(position).state;
}

bool StateMachine::id_has_failed(u128 id) const {
  u32 position = find_position(id);
  return position != 0 && journal_.record(position).kind == EntryKind::kFailedId;
}

std::vector<Transfer> StateMachine::pending_transfers() const {
  std::vector<Transfer> out;
  for (u32 position : journal_.open_positions()) out.push_back(journal_.transfer(position));
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
    const EntryLinks& links = journal_.record(p).links;
    bool is_debit = journal_.transfer(p).debit_account == query.account;
    return u64{is_debit ? links.debit_previous : links.credit_previous};
  };
  u64 position = extras_[slot].entry_last;
  u64 before = query.before == 0 ? journal_.size() + 1 : query.before;
  // A page's next_before is one of the account's own entries: go on from there.
  if (before <= journal_.size() && concerns(journal_entry(before), query.account))
    position = before;
  while (position >= before && position != 0) position = previous(position);
  i64 limit = std::clamp<i64>(query.limit, 1, kStatementLinesMax);
  for (; position != 0 && limit > 0; position = previous(position), --limit)
    out.lines.push_back({.position = position, .entry = journal_entry(position)});
  if (position != 0) out.next_before = out.lines.back().position;
  return out;
}

}  // namespace tg::ledger
