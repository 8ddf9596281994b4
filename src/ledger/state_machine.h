// The ledger as a deterministic state machine: events and their time go in, outcomes and journal
// entries come out. No clock, no randomness, no floats, no I/O; the same events give the same
// journal on every machine. One thread owns it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "ledger/id_index.h"
#include "ledger/journal.h"
#include "ledger/memory.h"
#include "ledger/types.h"

namespace tg::ledger {

// Sums over all accounts of one ledger. Debits equal credits, pending and posted apart, always.
struct LedgerTotals {
  u32 ledger = 0;
  u128 debits_pending = 0;
  u128 credits_pending = 0;
  u128 debits_posted = 0;
  u128 credits_posted = 0;
  friend bool operator==(const LedgerTotals&, const LedgerTotals&) = default;
};

// An account that is new or whose balances or flags changed, as it is now.
struct ChangedAccount {
  u32 number = 0;  // Order of creation, from 1 on, without gaps.
  bool is_new = false;
  Account account;
};

// What changed since the last take_effects, for a Store to make durable.
struct Effects {
  std::vector<ChangedAccount> accounts;  // The new ones in order of creation.
  u64 position_first = 1;                // Of entries[0]; the others follow without gaps.
  std::vector<JournalEntry> entries;
  bool empty() const { return accounts.empty() && entries.empty(); }
};

// A machine as it was after a commit. It holds the journal's records together with the machine and
// reads of them what never changes after a commit, so another thread may read it while the machine
// goes on.
class StateImage {
 public:
  std::span<const Account> accounts() const { return accounts_; }
  // Of each account, the newest entry that names it; 0 = none.
  std::span<const u32> entries_last() const { return entries_last_; }
  u64 entries() const { return entries_; }
  // REQUIRES: 1 <= position <= entries().
  EntryLinks links(u64 position) const;

 private:
  friend class StateMachine;
  std::vector<Account> accounts_;
  std::vector<u32> entries_last_;
  u64 entries_ = 0;
  u32 block_shift_ = 0;
  std::vector<std::shared_ptr<const JournalRecord[]>> blocks_;
};

// Pages of a statement are cut to this many lines.
inline constexpr i64 kStatementLinesMax = 10'000;
// REQUIRES of every `now`: 0 <= ns <= this, so that the longest timeout still fits 64 bits.
inline constexpr i64 kTimestampNsMax = INT64_MAX - i64{UINT32_MAX} * 1'000'000;

class StateMachine {
 public:
  StateMachine() = default;

  // From here on old entries need not stay in memory: they are read back from there. REQUIRES: the
  // machine is empty.
  void read_back_from(std::shared_ptr<EntrySource> source, Journal::Window window = {});
  // Why one could not be read back since this was last asked: nothing that was decided since may
  // be believed, nor what was read.
  std::optional<Error> take_read_failure() const { return journal_.take_failure(); }

  AccountStatus create_account(const Account& account, Timestamp now);
  // Sets kClosed; kOk also if it was closed already, kNotFound if there is no such account.
  AccountStatus close_account(u128 id, Timestamp now);

  // Applies a batch in order, linked chains all-or-none; `out` gets one status per transfer. Holds
  // whose time is up at `now` are released first, so outcomes never depend on when expire() ran.
  // An `exists` inside a chain counts as success, which makes the retry of a chain all `exists`.
  // Time never runs backwards: an earlier `now` than the last one is taken as the last one.
  void apply(std::span<const Transfer> batch, Timestamp now, std::vector<TransferStatus>& out);

  // Releases the holds whose timeout has passed, in order of expiry; how many.
  i64 expire(Timestamp now);
  // Whether expire(now) would look at any hold. It may find none to release: most were resolved.
  bool has_due(Timestamp now) const {
    return !expiries_.empty() && expiries_.front().at_ns <= now.ns;
  }
  // Voids every open hold with this transfer code whose position `is_chosen`; how many.
  i64 release_open(
      u16 code, Timestamp now,
      const std::function<bool(u64)>& is_chosen = [](u64) { return true; });

  // Borrowed; valid until the next call that changes the machine. nullptr if unknown.
  const Account* find_account(u128 id) const;
  // Applied transfers only: a burned id is not found.
  std::optional<Transfer> find_transfer(u128 id) const;
  // kNone if unknown or not a hold.
  PendingState pending_state(u128 id) const;
  bool id_has_failed(u128 id) const;

  // In order of creation.
  std::span<const Account> accounts() const { return accounts_; }
  std::span<const LedgerTotals> totals() const { return totals_; }
  // Open holds, oldest first.
  std::vector<Transfer> pending_transfers() const;
  i64 pending_count() const { return journal_.open_count(); }
  Statement statement(const StatementQuery& query) const;

  // A hint that this transfer id is about to be looked up.
  void prefetch(u128 id) const { transfer_index_.prefetch(id); }

  u64 journal_size() const { return journal_.size(); }
  // REQUIRES: 1 <= position <= journal_size().
  JournalEntry journal_entry(u64 position) const;
  const Journal& journal() const { return journal_; }
  Timestamp last_timestamp() const { return Timestamp{last_ns_}; }

  // Moves what changed since the last call to `out`, reusing its capacity; without balances, of
  // the accounts only those that are new or closed.
  void take_effects(Effects& out, bool with_balances = true);

  // Rebuilding from a store, in the order of its commits: an account with zero balances before the
  // entries that name it (and once more when it was closed), then the entries (kind, status and
  // transfer matter; the rest is derived). kCorrupt if they contradict.
  // REQUIRES: nothing was applied that take_effects has not taken.
  Status restore_account(const Account& account);
  Status restore_entry(const JournalEntry& entry);

  // The state as it is now. Copies the accounts; the journal is shared. REQUIRES: take_effects took
  // everything.
  StateImage image() const;
  // The short way of rebuilding: every account with its balances and its newest entry; then each of
  // `entries` entries with its links, which nothing decides again; then the end, which checks that
  // they fit together. kCorrupt if not. The machine must be empty before.
  Status begin_restored(std::span<const Account> accounts, std::span<const u32> entries_last,
                        u64 entries);
  Status restore_decided(const JournalEntry& entry, const EntryLinks& links);
  Status end_restored();

 private:
  struct AccountExtra {
    u32 totals_slot = 0;
    u32 entry_last = 0;  // Head of the account's chain of entries.
    bool changed = false;
  };
  struct Expiry {
    i64 at_ns = 0;
    u32 position = 0;
    friend constexpr auto operator<=>(const Expiry&, const Expiry&) = default;
  };

  // The two accounts of a transfer, as slots in accounts_.
  struct Parties {
    u32 debit = 0;
    u32 credit = 0;
  };
  static constexpr u64 kExpiriesFirst = 4096;
  static constexpr u32 kNoSlot = 0xFFFF'FFFFu;
  // Where a stored entry belongs.
  struct Place {
    Parties parties;
    u32 pending_position = 0;
  };

  // Fetch into the cache what a transfer a little further on will need: first where its ids are
  // looked up, then what was found there.
  void prefetch_slots(const Transfer& t) const;
  void prefetch_records(const Transfer& t) const;
  void prefetch_account(u128 id) const;

  void clamp_time(Timestamp now);
  void advance_to(Timestamp now);
  void apply_chain(std::span<const Transfer> chain, std::span<TransferStatus> out);
  TransferStatus apply_one(const Transfer& t);
  TransferStatus apply_new(const Transfer& t);
  TransferStatus apply_resolution(const Transfer& t);
  void apply_release(u32 pending_position, u16 code);
  void undo_back_to(u64 journal_size);

  TransferStatus compare_known(const Transfer& t, u32 known) const;
  TransferStatus check_parties(const Transfer& t, Parties parties) const;
  TransferStatus check_open(Parties parties) const;
  TransferStatus check_limits(const Transfer& t, Parties parties) const;
  TransferStatus check_resolution(const Transfer& t, u32 pending_position) const;
  TransferStatus check_restored(const JournalEntry& entry, Place& place) const;

  // Appends to the journal and moves the balances of the parties.
  void record(const Transfer& t, EntryKind kind, u32 pending_position, Parties parties);
  void record_failure(const Transfer& t, TransferStatus status);
  u32 append(const Transfer& t, EntryKind kind);
  void move_balances(const Transfer& t, u32 pending_position, Parties parties, bool is_forward);
  // Of the hold that this entry resolves.
  static PendingState state_after(const Transfer& t, EntryKind kind);
  void watch_expiry(u32 position);
  void add_expiry(Expiry expiry);
  void note_changed(u32 slot);
  void forget_effects();
  void assert_invariants(Parties parties) const;

  bool is_open(u64 position) const;
  u32 find_position(u128 id) const;
  u32 find_slot(u128 id) const;
  Parties parties_of(const Transfer& t) const;
  u32 totals_slot_of(u32 ledger);
  Status add_restored_account(const Account& account, u32 entry_last);
  Status check_restored_links(const JournalEntry& entry, const EntryLinks& links) const;

  std::vector<Account> accounts_;
  std::vector<AccountExtra> extras_;
  IdIndex account_index_;
  std::vector<LedgerTotals> totals_;
  IdIndex totals_index_;

  Journal journal_;
  u64 journal_taken_ = 0;
  IdIndex transfer_index_;

  std::vector<Expiry> expiries_;       // A heap, the next at its head.
  u64 expiries_max_ = kExpiriesFirst;  // Before the resolved among them are looked for.
  i64 last_ns_ = 0;
  std::vector<u32> changed_;
  u64 accounts_taken_ = 0;
};

}  // namespace tg::ledger
