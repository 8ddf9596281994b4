#include "env/append_file.h"

#include <utility>
#include <vector>

#include "base/assert.h"

namespace tg {

Result<AppendFile> AppendFile::open(const std::string& path) {
  TG_ASSIGN(std::unique_ptr<File> file, open_locked_file(path));
  return over(std::move(file));
}

Result<AppendFile> AppendFile::over(std::unique_ptr<File> file) {
  TG_ASSERT(file != nullptr);
  TG_ASSIGN(u64 size, file->size());
  return AppendFile(std::move(file), size);
}

const std::string& AppendFile::path() const {
  TG_ASSERT(file_ != nullptr);
  return file_->path();
}

// One write or none: of two, the system may flush a sector between them, and a crash then leaves a
// sector that is neither old nor new, which a reader could not tell from damage.
Status AppendFile::write_durably(u64 offset, std::span<const u8> bytes) {
  if (bytes.empty()) return file_->sync();
  TG_ASSIGN(u64 written, file_->write_at(offset, bytes));
  if (written != bytes.size())
    return Error{Code::kIo, path() + ": wrote " + std::to_string(written) + " of " +
                                std::to_string(bytes.size()) + " bytes"};
  return file_->sync();
}

Status AppendFile::append_durably(std::span<const u8> bytes) {
  TG_ASSERT(file_ != nullptr);
  Status written = write_durably(size_, bytes);
  if (!written.ok()) {
    [[maybe_unused]] Status cut = file_->set_size(size_);
    return written;
  }
  size_ += bytes.size();
  return {};
}

Status AppendFile::read(u64 offset, std::span<u8> bytes) const {
  TG_ASSERT(file_ != nullptr);
  TG_ASSIGN(u64 count, file_->read_at(offset, bytes));
  if (count == bytes.size()) return {};
  return Error{Code::kCorrupt, path() + ": ends before byte " + std::to_string(offset + count)};
}

Status AppendFile::truncate(u64 size) {
  TG_ASSERT(file_ != nullptr && size <= size_);
  TG_TRY(file_->set_size(size));
  size_ = size;
  return file_->sync();
}

Status AppendFile::settle(u64 offset) {
  TG_ASSERT(file_ != nullptr && offset <= size_);
  std::vector<u8> bytes(size_ - offset);
  TG_TRY(read(offset, bytes));
  return write_durably(offset, bytes);
}

}  // namespace tg
