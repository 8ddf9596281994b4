// A ledger's entries in order, most of them elsewhere. Of each a record stays in memory: its id, so
// that it happens once, what became of it and where it hangs. The rest, its transfer, stays while
// it is new or an open hold; older ones are read back from where they are durable, if the store
// lends a way to (EntrySource). Without one all stay.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/result.h"
#include "ledger/memory.h"
#include "ledger/types.h"

namespace tg::ledger {

// Reads transfers back, for the thread that owns the journal.
class EntrySource {
 public:
  virtual ~EntrySource() = default;
  // Entries up to this place can be read. It only grows, perhaps while another thread commits.
  virtual u64 readable() const = 0;
  // The transfer as it was committed. REQUIRES: 1 <= position <= readable().
  virtual Result<Transfer> read_transfer(u64 position) = 0;
};

// Where an entry hangs: what deciding it found out, so that a snapshot can spare the next one.
struct EntryLinks {
  u32 debit_previous = 0;
  u32 credit_previous = 0;
  u32 pending_position = 0;
  friend bool operator==(const EntryLinks&, const EntryLinks&) = default;
};
static_assert(sizeof(EntryLinks) == 12);

struct JournalRecord {
  u128 id = 0;
  EntryLinks links;
  TransferStatus status = TransferStatus::kOk;
  EntryKind kind = EntryKind::kTransfer;
  PendingState state = PendingState::kNone;
  friend bool operator==(const JournalRecord&, const JournalRecord&) = default;
};
static_assert(sizeof(JournalRecord) == 32);

// Positions are 32 bits in memory; one below the largest so that a count never wraps.
inline constexpr u64 kJournalEntriesMax = 0xFFFF'FFFEu;

// Blocks of 2^shift, so that growing neither copies nor moves: one at a time at first, then as many
// as fill two huge pages, which a thread beside this one has touched by then (on a virtual machine
// the first touch may take longer than all that is done with the memory). Shared with who reads
// them while the journal goes on.
template <typename T>
class JournalBlocks {
 public:
  using Block = std::shared_ptr<T[]>;

  explicit JournalBlocks(u32 shift) : shift_(shift) { TG_ASSERT(together() >= 2); }

  T& at(u64 index) const { return blocks_[index >> shift_][index & ((u64{1} << shift_) - 1)]; }
  u64 block_count() const { return blocks_.size(); }
  const std::vector<Block>& blocks() const { return blocks_; }
  bool has(u64 block) const { return blocks_[block] != nullptr; }
  u32 shift() const { return shift_; }

  void add() {
    if (ready_.empty()) make_ready();
    blocks_.push_back(std::move(ready_.back()));
    ready_.pop_back();
    if (ready_.size() == together() / 2) ahead_ = std::async(std::launch::async, make, entries());
  }
  // The block that was `from` is the last one now, with what is in it, and `from` is gone.
  void move_to_end(u64 from) {
    TG_ASSERT(has(from));
    Block block = std::move(blocks_[from]);
    blocks_.push_back(std::move(block));
  }

 private:
  // One less than would fill them: what is counted lies there too.
  u64 together() const { return 2 * kHugePageBytes / (sizeof(T) << shift_) - 1; }
  u64 entries() const { return together() << shift_; }

  void make_ready() {
    if (blocks_.size() < together())
      return ready_.push_back(std::make_shared<T[]>(std::size_t{1} << shift_));
    Block all = ahead_.valid() ? ahead_.get() : make(entries());
    for (u64 i = together(); i-- > 0;) ready_.emplace_back(all, all.get() + (i << shift_));
  }
  static Block make(u64 count) { return std::allocate_shared<T[]>(HugePageAllocator<T>(), count); }

  u32 shift_;
  std::vector<Block> blocks_;
  std::vector<Block> ready_;  // The next is the last of them.
  std::future<Block> ahead_;
};

class Journal {
 public:
  // How much stays: blocks of 2^block_shift entries, window_blocks of them at least.
  struct Window {
    u32 block_shift = 9;
    u64 window_blocks = 48;
  };

  Journal() : Journal(Window{}) {}
  explicit Journal(Window window, std::shared_ptr<EntrySource> source = nullptr)
      : window_(window),
        source_(std::move(source)),
        records_(window.block_shift),
        transfers_(window.block_shift) {}

  u64 size() const { return size_; }

  // A new last entry: the transfer at this time. REQUIRES: size() < kJournalEntriesMax.
  void append(const Transfer& transfer, EntryKind kind, i64 timestamp_ns);
  // Takes the last one back.
  void drop_last();

  // REQUIRES of all: 1 <= position <= size().
  const JournalRecord& record(u64 position) const { return records_.at(position - 1); }
  EntryLinks& links(u64 position) { return records_.at(position - 1).links; }
  // Borrowed until the next call. What cannot be read back is all zeros, and take_failure() says
  // so.
  const Transfer& transfer(u64 position) const {
    TG_ASSERT(position >= 1 && position <= size_);
    if (transfers_.has((position - 1) >> window_.block_shift)) return transfers_.at(position - 1);
    return old_transfer(position);
  }
  bool is_in_memory(u64 position) const;
  JournalEntry entry(u64 position) const;
  void prefetch(u64 position) const;

  void set_status(u64 position, TransferStatus status) {
    records_.at(position - 1).status = status;
  }
  // kPending opens a hold; every other state resolves it.
  void set_state(u64 position, PendingState state);
  i64 open_count() const { return open_count_; }
  // Open holds, oldest first.
  std::vector<u32> open_positions() const;

  // Why a transfer could not be read back, once; nothing decided since can be believed.
  std::optional<Error> take_failure() const { return std::exchange(failure_, std::nullopt); }

  // What nobody changes any more, except states.
  const JournalBlocks<JournalRecord>& records() const { return records_; }

 private:
  void add_block();
  bool can_forget(u64 block) const;
  void keep_open_holds(u64 block);
  void note_open(u64 position, i32 change);
  const Transfer& old_transfer(u64 position) const;

  Window window_;
  std::shared_ptr<EntrySource> source_;  // Shared with the store, which may end first.
  u64 size_ = 0;
  JournalBlocks<JournalRecord> records_;
  JournalBlocks<Transfer> transfers_;  // Without the first `forgotten_`.
  u64 forgotten_ = 0;
  std::vector<i32> open_in_block_;
  i64 open_count_ = 0;
  // Of holds that were open when their block went, and perhaps are no more.
  std::map<u32, Transfer> kept_;
  u64 kept_max_ = 64;

  mutable u64 read_back_position_ = 0;
  mutable Transfer read_back_;
  mutable std::optional<Error> failure_;
};

}  // namespace tg::ledger
