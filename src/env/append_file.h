// A file that only grows at its end, held by one process at a time: what a log is made of. Errors
// name the path and the operating system's reason.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg {

class AppendFile {
 public:
  // Opens or creates, and locks. kUnavailable if another process (or object) holds it.
  static Result<AppendFile> open(const std::string& path);
  AppendFile() = default;
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  // Writes at the end and waits until the bytes are durable. On an error the file's end is where it
  // was, if the system still lets us say so, and nothing was promised.
  Status append_durably(std::span<const u8> bytes);
  // Exactly bytes.size() bytes from `offset` on; kCorrupt if the file ends before.
  Status read(u64 offset, std::span<u8> bytes) const;
  // Drops what follows, durably. REQUIRES: size <= this->size().
  Status truncate(u64 size);

  u64 size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  AppendFile(std::string path, int fd, u64 size) : path_(std::move(path)), fd_(fd), size_(size) {}

  std::string path_;
  int fd_ = -1;
  u64 size_ = 0;
};

}  // namespace tg
