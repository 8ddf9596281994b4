// Two snapshots beside a log, written in turn, so that the older is whole while the newer is being
// written; in a thread of its own, so that no commit waits for it.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "env/file.h"
#include "ledger/snapshot.h"

namespace tg::ledger {

// <directory>/ledger.snapshot-0 and -1.
inline constexpr const char* kSnapshotFileNames[2] = {"ledger.snapshot-0", "ledger.snapshot-1"};

struct SnapshotOptions {
  // A snapshot is due when this many entries, and a quarter of all, came since the last.
  u64 entries_min = u64{1} << 20;
  // Simulations write on the calling thread instead, to be the same each time.
  bool is_in_background = true;
};

using SnapshotFiles = std::array<std::unique_ptr<File>, 2>;

class SnapshotKeeper {
 public:
  SnapshotKeeper(SnapshotFiles files, SnapshotOptions options);
  // Waits for what is being written.
  ~SnapshotKeeper();
  SnapshotKeeper(const SnapshotKeeper&) = delete;
  SnapshotKeeper& operator=(const SnapshotKeeper&) = delete;

  // The newest whole one; nullopt if there is none. One that is torn or of another version is
  // passed over with a warning: the one before it, or the log alone, leads to the same state.
  Result<std::optional<Snapshot>> newest();
  // Every whole one, to be compared with the log.
  std::vector<Snapshot> all();

  // Whether to take one now that there are `entries`; not while one is being written.
  bool is_due(u64 entries) const;
  // Begins to write a snapshot over the older of the two. REQUIRES: is_due(image.entries()).
  void take(const LogMark& mark, StateImage image);
  // Until nothing is being written.
  void wait();

 private:
  void write(int slot, const LogMark& mark, const StateImage& image);

  SnapshotFiles files_;
  const SnapshotOptions options_;
  int slot_next_ = 0;      // Of the writing thread while is_writing_.
  u64 entries_taken_ = 0;  // In the newest, or when the last try began.
  std::atomic<bool> is_writing_{false};
  std::thread writer_;
};

}  // namespace tg::ledger
