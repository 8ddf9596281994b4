// Where a ledger lives: what was committed is there after a crash. A log and two
// databases implement it, so it is an interface.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/state_machine.h"
#include "ledger/types.h"

namespace tg::ledger {

// A document to store with a batch; commit sets its status.
struct DocumentWrite {
  const Document* document = nullptr;  // Borrowed.
  DocumentStatus status = DocumentStatus::kNotStored;
};

struct StoredDocument {
  u64 sequence = 0;  // Order of storing, from 1 on, without gaps.
  u128 id = 0;
  std::string bytes;
};

struct AuditReport {
  i64 accounts = 0;
  u64 journal_entries = 0;
  i64 holds_open = 0;
  i64 commits = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // Rebuilds `state`, which must be empty, from the journal, and checks it: every stored balance
  // equals what the journal gives, every commit's digest matches its entries, sums are zero.
  // kCorrupt names the first contradiction.
  virtual Result<AuditReport> load(StateMachine& state) = 0;

  // The same by the longest way, which believes the journal and nothing that was derived from it.
  virtual Result<AuditReport> replay(StateMachine& state) { return load(state); }

  // Before a batch is applied to the machine that load() filled: takes in what other writers of a
  // shared store committed since, and keeps them out until commit(), which must follow.
  // kUnavailable if that cannot be had now; nothing has changed then, or the next calls say that
  // the store failed.
  virtual Status begin(StateMachine&) { return {}; }
  // Whether several processes may have this store open.
  virtual bool is_shared() const { return false; }
  // Whether the entry at this place was there before load() and is of the one who loaded: of a
  // shared store, not all are.
  virtual bool is_own(u64) const { return true; }

  // Makes one batch durable: all of it or, on an error, nothing. After an error the store and the
  // state machine have parted, and the caller must stop using both.
  virtual Status commit(const Effects& effects, std::span<DocumentWrite> documents) = 0;

  // A commit in parts, so that the next batch is decided while one waits for the disk: stage()
  // takes in a batch, seal() does what then takes time but no disk, sync() does with the oldest
  // staged one what is left of a commit(), and says so. Three threads may each do one of them, for
  // different batches in order; kStagedMax may be staged and not synced. A batch that nobody sealed
  // sync() seals. Both
  // arguments are borrowed until the batch's sync() has returned, which is when the documents have
  // their statuses. After a failed sync() every later one fails. Not for shared stores.
  static constexpr u64 kStagedMax = 7;
  virtual void stage(const Effects& effects, std::span<DocumentWrite> documents);
  virtual void seal() {}
  virtual Status sync();
  // Whether effects need the balances of accounts that are neither new nor closed.
  virtual bool keeps_balances() const { return true; }

  // After a commit: the state as the store has it. The store may keep it, for the next load() to be
  // quicker; in the background, so that no commit waits. REQUIRES: nothing is staged.
  virtual void offer_snapshot(const StateMachine&) {}
  // Whether it would keep one now.
  virtual bool wants_snapshot(const StateMachine&) const { return false; }

  // kNotFound if there is none.
  virtual Result<std::string> read_document(u128 id) = 0;
  // Up to `limit` documents stored after `sequence` (0 = from the first), in order.
  virtual Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) = 0;

  // Checks the medium itself, beyond what load() reads.
  virtual Status check_medium() = 0;

  // check_medium, then replay() into a machine of its own, which re-derives every balance; if
  // `live` is given, also compares every account and entry with it.
  Result<AuditReport> audit(const StateMachine* live = nullptr);

 private:
  struct Staged {
    const Effects* effects = nullptr;
    std::span<DocumentWrite> documents;
  };
  std::array<Staged, kStagedMax> staged_;
  u64 staged_count_ = 0;  // Of stage() alone,
  u64 synced_count_ = 0;  // of sync() alone: they may run at once.
};

// kCorrupt naming the first journal entry that differs.
Status compare_journals(const StateMachine& stored, const StateMachine& live);

// kCorrupt naming the first account whose stored form differs from the derived one.
Status compare_accounts(std::span<const Account> stored, std::span<const Account> derived);

// kCorrupt naming the first ledger whose accounts do not sum to its totals, debits to credits.
Status check_sums(const StateMachine& state);

}  // namespace tg::ledger
