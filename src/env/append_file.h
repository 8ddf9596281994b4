// A file that only grows at its end, held by one process at a time: what a log is made of. Errors
// name the path and the operating system's reason.
//
// With room it is written in whole blocks past the system's cache, and grows by zeros ahead of what
// is appended if that is short: a sync then has no change of size or place to make durable too. The
// end of what was appended is
// where the file ends while nobody has it open, but after a crash zeros may follow, or what was
// torn and zeros: a reader must know its end by what it reads, and truncate() there.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "env/file.h"

namespace tg {

class AppendFile {
 public:
  // Opens or creates, and locks. kUnavailable if another process (or object) holds it. Room is had
  // up to `room_bytes_max`, less for a small file; none where the file system cannot write blocks.
  static Result<AppendFile> open(const std::string& path, u64 room_bytes_max = 0);
  // The same over a file that is open and locked, for example a simulated one.
  static Result<AppendFile> over(std::unique_ptr<File> file, u64 room_bytes_max = 0);
  AppendFile() = default;
  // Cuts what room is left.
  ~AppendFile();
  AppendFile(AppendFile&&) = default;
  AppendFile& operator=(AppendFile&&) = default;

  // Writes at the end and waits until the bytes are durable. On an error the file's end is where it
  // was, if the system still lets us say so, and nothing was promised.
  Status append_durably(std::span<const u8> bytes);
  // Exactly bytes.size() bytes from `offset` on; kCorrupt if the file ends before.
  Status read(u64 offset, std::span<u8> bytes) const;
  // Drops what follows, durably. REQUIRES: size <= this->size().
  Status truncate(u64 size);
  // Writes what lies from `offset` to the end once more and syncs it. What an earlier process wrote
  // and could not sync may be in the system's cache alone, marked clean; a reader that is about to
  // believe it makes sure first. REQUIRES: offset <= size().
  Status settle(u64 offset);

  // Of what was appended; at first, of the file.
  u64 size() const { return size_; }
  const std::string& path() const;

 private:
  AppendFile(std::unique_ptr<File> file, u64 size, u64 room_bytes_max)
      : file_(std::move(file)), size_(size), end_(size), room_bytes_max_(room_bytes_max) {}
  Status write_durably(u64 offset, std::span<const u8> bytes);
  Status make_room(u64 end);
  Status write_blocks_durably(std::span<const u8> bytes);
  Status set_size(u64 size);

  std::unique_ptr<File> file_;
  u64 size_ = 0;
  u64 end_ = 0;  // Of the file: zeros lie between, in whole blocks.
  u64 room_bytes_max_ = 0;
  std::vector<Block> blocks_;  // The first has the bytes that `blocks_size_` ends in,
  u64 blocks_size_ = 0;        // if that is size_.
};

}  // namespace tg
