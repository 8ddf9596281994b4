#include "ledger/journal.h"

#include <algorithm>
#include <string>

#include "base/bytes.h"

namespace tg::ledger {

void Journal::append(const Transfer& transfer, EntryKind kind, i64 timestamp_ns) {
  TG_ASSERT(size_ < kJournalEntriesMax);
  if (size_ == transfers_.block_count() << window_.block_shift) add_block();
  Transfer& placed = transfers_.at(size_);
  placed = transfer;
  placed.timestamp_ns = timestamp_ns;
  records_.at(size_) = JournalRecord{.id = transfer.id, .kind = kind};
  ++size_;
}

void Journal::drop_last() {
  TG_ASSERT(size_ > 0);
  bool is_open = record(size_).state == PendingState::kPending;
  if (is_open) note_open(size_, -1);
  --size_;
}

// Of the oldest block, if it may go, the memory is used again: it has been touched, and may still
// be in the cache.
void Journal::add_block() {
  records_.add();
  open_in_block_.push_back(0);
  if (!can_forget(forgotten_)) return transfers_.add();
  keep_open_holds(forgotten_);
  transfers_.move_to_end(forgotten_++);
}

bool Journal::can_forget(u64 block) const {
  return source_ != nullptr && block + window_.window_blocks <= transfers_.block_count() &&
         source_->readable() >= (block + 1) << window_.block_shift;
}

void Journal::keep_open_holds(u64 block) {
  auto is_resolved = [&](const auto& kept) {
    return record(kept.first).state != PendingState::kPending;
  };
  if (kept_.size() >= kept_max_) {
    std::erase_if(kept_, is_resolved);
    kept_max_ = std::max<u64>(64, 2 * kept_.size());
  }
  if (open_in_block_[block] == 0) return;
  u64 first = (block << window_.block_shift) + 1;
  for (u64 p = first; p < first + (u64{1} << window_.block_shift); ++p) {
    if (record(p).state == PendingState::kPending)
      kept_.emplace(static_cast<u32>(p), transfers_.at(p - 1));
  }
}

bool Journal::is_in_memory(u64 position) const {
  return transfers_.has((position - 1) >> window_.block_shift) ||
         kept_.contains(static_cast<u32>(position));
}

// The record says whose bytes must be there.
const Transfer& Journal::old_transfer(u64 position) const {
  auto kept = kept_.find(static_cast<u32>(position));
  if (kept != kept_.end()) return kept->second;
  if (position == read_back_position_) return read_back_;
  Result<Transfer> read = source_->read_transfer(position);
  if (read.ok() && read->id != record(position).id)
    read = Error{Code::kCorrupt, "journal entry " + std::to_string(position) + ": read back as " +
                                     to_hex(read->id) + ", it was " + to_hex(record(position).id)};
  if (!read.ok() && !failure_.has_value()) failure_ = read.error();
  read_back_ = read.ok() ? *read : Transfer{};
  read_back_position_ = read.ok() ? position : 0;
  return read_back_;
}

JournalEntry Journal::entry(u64 position) const {
  const JournalRecord& known = record(position);
  return {.transfer = transfer(position),
          .debit_previous = known.links.debit_previous,
          .credit_previous = known.links.credit_previous,
          .pending_position = known.links.pending_position,
          .status = known.status,
          .kind = known.kind,
          .state = known.state};
}

void Journal::prefetch(u64 position) const {
  prefetch_for_write(&record(position));
  if (transfers_.has((position - 1) >> window_.block_shift))
    prefetch_for_write(&transfers_.at(position - 1).amount);
}

void Journal::set_state(u64 position, PendingState state) {
  JournalRecord& hold = records_.at(position - 1);
  // A hold resolves once; only undoing a chain opens it again.
  TG_ASSERT((hold.state == PendingState::kPending) != (state == PendingState::kPending));
  note_open(position, state == PendingState::kPending ? 1 : -1);
  hold.state = state;
}

void Journal::note_open(u64 position, i32 change) {
  i32& in_block = open_in_block_[(position - 1) >> window_.block_shift];
  in_block += change;
  open_count_ += change;
  TG_ASSERT(in_block >= 0 && open_count_ >= in_block);
}

std::vector<u32> Journal::open_positions() const {
  std::vector<u32> out;
  for (u64 block = 0; block < open_in_block_.size(); ++block) {
    if (open_in_block_[block] == 0) continue;
    u64 first = block << window_.block_shift;
    u64 end = std::min(size_, first + (u64{1} << window_.block_shift));
    for (u64 p = first + 1; p <= end; ++p) {
      if (record(p).state == PendingState::kPending) out.push_back(static_cast<u32>(p));
    }
  }
  return out;
}

}  // namespace tg::ledger
