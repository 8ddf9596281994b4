// A file that only grows at its end, held by one process at a time: what a log is made of. Errors
// name the path and the operating system's reason.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"
#include "env/file.h"

namespace tg {

class AppendFile {
 public:
  // Opens or creates, and locks. kUnavailable if another process (or object) holds it.
  static Result<AppendFile> open(const std::string& path);
  // The same over a file that is open and locked, for example a simulated one.
  static Result<AppendFile> over(std::unique_ptr<File> file);
  AppendFile() = default;

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

  u64 size() const { return size_; }
  const std::string& path() const;

 private:
  AppendFile(std::unique_ptr<File> file, u64 size) : file_(std::move(file)), size_(size) {}
  Status write_durably(u64 offset, std::span<const u8> bytes);

  std::unique_ptr<File> file_;
  u64 size_ = 0;
};

}  // namespace tg
