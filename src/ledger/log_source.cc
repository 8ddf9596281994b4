#include "ledger/log_source.h"

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "ledger/log_reader.h"

namespace tg::ledger {

static constexpr u64 kMarkBytes = u64{32} << 10;

void LogSource::note_frame(u64 offset, u64 position_first) {
  if (!marks_.empty() && offset - marks_.back().offset < kMarkBytes) return;
  marks_.push_back({.position_first = position_first, .offset = offset});
}

void LogSource::note_readable(u64 bytes, u64 entries) {
  bytes_.store(bytes, std::memory_order_release);
  readable_.store(entries, std::memory_order_release);
}

// Has the headers of all frames that begin between this mark and the next.
Status LogSource::read_piece(u64 offset) {
  u64 wanted = std::min(kMarkBytes + kFrameHeaderBytes, bytes_.load() - offset);
  if (piece_offset_ == offset && piece_.size() == wanted) return {};
  piece_.resize(wanted);
  piece_offset_ = offset;
  Status read = file_->read(offset, piece_);
  if (!read.ok()) piece_.clear();
  return read;
}

Result<Transfer> LogSource::read_transfer(u64 position) {
  TG_ASSERT(position >= 1 && position <= readable());
  if (file_ == nullptr) return Error{Code::kUnavailable, "ledger: its log is closed"};
  auto next = std::upper_bound(marks_.begin(), marks_.end(), position,
                               [](u64 p, const Mark& mark) { return p < mark.position_first; });
  TG_ASSERT(next != marks_.begin());
  u64 begin = std::prev(next)->offset;
  TG_TRY(read_piece(begin));
  std::span<const u8> piece(piece_);
  for (u64 at = 0; at + kFrameHeaderBytes <= piece.size();) {
    Result<FrameHeader> header = parse_header(piece.subspan(at, kFrameHeaderBytes));
    if (!header.ok()) return corrupt_at(*file_, begin + at, header.error().message);
    bool is_here =
        position >= header->position_first && position - header->position_first < header->entries;
    if (is_here) return read_from(begin + at, *header, position);
    at += frame_bytes(*header);
  }
  return corrupt_at(*file_, begin, "entry " + std::to_string(position) + " is not there any more");
}

Result<Transfer> LogSource::read_from(u64 offset, const FrameHeader& header, u64 position) const {
  u64 at = offset + entry_offset(header, static_cast<u32>(position - header.position_first));
  u64 in_piece = at - piece_offset_;
  std::vector<u8> bytes;
  std::span<const u8> entry;
  if (in_piece + kFrameEntryBytes <= piece_.size()) {
    entry = std::span<const u8>(piece_).subspan(in_piece, kFrameEntryBytes);
  } else {
    bytes.resize(kFrameEntryBytes);
    TG_TRY(file_->read(at, bytes));
    entry = bytes;
  }
  Result<JournalEntry> parsed = parse_entry(entry);
  if (!parsed.ok()) return corrupt_at(*file_, at, parsed.error().message);
  return parsed->transfer;
}

}  // namespace tg::ledger
