// What a log's frames up to one of them lead to, as bytes: a start for the next opening, which then
// decides only what follows. Derived, never the truth: whoever doubts it replays the log.
//
//   header   magic "TGLS", version u16, zero u16, commits u64, log bytes u64, accounts u64,
//            entries u64, digest of the log's last covered frame (32), SHA-256 of the body (32),
//            SHA-256 of the header before it (32)
//   body     accounts (128 bytes with balances, newest entry u32, zero u32); of each entry the
//            entries before it on its debit and its credit account and the hold it resolves (u32)
//
// The same history gives the same bytes, on every machine.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/file.h"
#include "ledger/log_frame.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

inline constexpr u64 kSnapshotHeaderBytes = 136;

struct SnapshotHeader {
  LogMark mark;
  u64 accounts = 0;
  u64 entries = 0;
  Digest body{};
};

// A snapshot's bytes, whose digests agree.
class Snapshot {
 public:
  // kNotFound if the file is empty, kCorrupt if it is torn or no snapshot, kUnsupported if its
  // version is another.
  static Result<SnapshotHeader> read_header(const File& file);
  // The file's body, checked against the header.
  static Result<Snapshot> read(const File& file, const SnapshotHeader& header);

  const SnapshotHeader& header() const { return header_; }
  std::vector<Account> accounts() const;
  std::vector<u32> entries_last() const;
  // REQUIRES: 1 <= position <= header().entries.
  EntryLinks links(u64 position) const;

 private:
  SnapshotHeader header_;
  std::vector<u8> body_;
};

// Replaces the file's content, durably. `file` is garbage if that fails.
Status write_snapshot(File& file, const LogMark& mark, const StateImage& image);

// kCorrupt naming the first account or entry in which the snapshot is not the image.
Status compare(const Snapshot& snapshot, const StateImage& image);

}  // namespace tg::ledger
