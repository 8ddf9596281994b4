// One file through the few calls a disk has, so that a simulated disk with faults (crash at any
// byte, lost and reordered sectors, a sync that fails) can stand under the code that ships.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg {

class File {
 public:
  virtual ~File() = default;

  // How many bytes were written from `offset` on: at least one, perhaps fewer than given.
  // REQUIRES: bytes is not empty.
  virtual Result<u64> write_at(u64 offset, std::span<const u8> bytes) = 0;
  // How many bytes were read: fewer than asked only at the end of the file, then perhaps none.
  virtual Result<u64> read_at(u64 offset, std::span<u8> bytes) const = 0;
  // After success all that was written before, and the size, survive a power cut. After a failure
  // nothing can be said of what was written since the last success, not even after another try.
  virtual Status sync() = 0;
  // Cuts or extends with zeros.
  virtual Status set_size(u64 size) = 0;
  virtual Result<u64> size() const = 0;
  virtual const std::string& path() const = 0;
};

// A unit of every disk and of the system's cache.
inline constexpr u64 kBlockBytes = 4096;
struct alignas(kBlockBytes) Block {
  u8 bytes[kBlockBytes];
};

// Opens or creates a regular file and locks it against other openers, as AppendFile::open says.
Result<std::unique_ptr<File>> open_locked_file(const std::string& path);

// The same, where the file system can write past the system's cache; nullptr where not. A write of
// whole Blocks to a multiple of their size is then done by the disk itself, without a copy and
// without the cache's pages; any other write is as ever, and reads see both.
Result<std::unique_ptr<File>> open_locked_block_file(const std::string& path);

// Opens a regular file to read, without a lock; writing fails. kNotFound if there is none.
Result<std::unique_ptr<File>> open_file_to_read(const std::string& path);

}  // namespace tg
