// The door to the file system: whole-file reads with a limit, atomic durable writes, read-only
// mappings. Errors name the path and the operating system's reason.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg {

// The file's bytes; kLimit if it is longer than `bytes_max`.
Result<std::string> read_file(const std::string& path, u64 bytes_max);

// Writes to a temporary beside `path`, syncs, renames over it and syncs the folder: after success
// the new content survives a power cut, after failure the old one is whole. `mode` as in chmod,
// e.g. 0600.
Status write_file_durably(const std::string& path, std::span<const u8> bytes, u32 mode);

// Creates the folder and its parents; fails if it cannot be written to.
Status ensure_writable_directory(const std::string& path);

// A file mapped read-only for as long as the object lives. Movable, not copyable.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const u8> bytes() const { return {data_, size_}; }
  // Gives the memory of what was read so far back; it is read again when it is touched again.
  void release() const;

 private:
  const u8* data_ = nullptr;
  u64 size_ = 0;
};

}  // namespace tg
