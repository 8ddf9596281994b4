// Old entries read back from a log: the frame is found from marks kept in memory, one for each 32
// KiB at most, and the headers of the frames between.
#pragma once

#include <atomic>
#include <vector>

#include "env/append_file.h"
#include "ledger/journal.h"
#include "ledger/log_frame.h"

namespace tg::ledger {

class LogSource final : public EntrySource {
 public:
  // Borrows the file until close().
  explicit LogSource(const AppendFile& file) : file_(&file) {}

  u64 readable() const override { return readable_.load(std::memory_order_acquire); }
  // kCorrupt if the log has not the entry where it was.
  Result<Transfer> read_transfer(u64 position) override;

  // A frame begins, or will, at `offset`. In order, on the thread that reads.
  void note_frame(u64 offset, u64 position_first);
  // The log's first `bytes` are in the file, and `entries` entries in them. On any one thread.
  void note_readable(u64 bytes, u64 entries);
  // The file goes; what is asked for from now on cannot be read.
  void close() { file_ = nullptr; }

 private:
  struct Mark {
    u64 position_first = 0;
    u64 offset = 0;
  };
  Status read_piece(u64 offset);
  Result<Transfer> read_from(u64 offset, const FrameHeader& header, u64 position) const;

  const AppendFile* file_;
  std::vector<Mark> marks_;
  std::atomic<u64> bytes_{0};
  std::atomic<u64> readable_{0};
  u64 piece_offset_ = 0;
  std::vector<u8> piece_;  // Of the file from there on.
};

}  // namespace tg::ledger
