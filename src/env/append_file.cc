#include "env/append_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"

namespace tg {

static constexpr u64 kRoomBytesMin = u64{64} << 10;
// What is longer is not worth zeros first: writing those costs what the sync saves.
static constexpr u64 kZeroedBytesMax = u64{64} << 10;
static constexpr u64 kZeroBlocks = 256;

static u64 blocks_for(u64 bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes;
}

static u8* bytes_of(std::vector<Block>& blocks) {
  return reinterpret_cast<u8*>(blocks.data());
}

Result<AppendFile> AppendFile::open(const std::string& path, u64 room_bytes_max) {
  if (room_bytes_max > 0) {
    TG_ASSIGN(std::unique_ptr<File> file, open_locked_block_file(path));
    if (file != nullptr) return over(std::move(file), room_bytes_max);
  }
  TG_ASSIGN(std::unique_ptr<File> file, open_locked_file(path));
  return over(std::move(file));
}

Result<AppendFile> AppendFile::over(std::unique_ptr<File> file, u64 room_bytes_max) {
  TG_ASSERT(file != nullptr);
  TG_ASSIGN(u64 size, file->size());
  return AppendFile(std::move(file), size, room_bytes_max);
}

AppendFile::~AppendFile() {
  if (file_ == nullptr || end_ == size_) return;
  [[maybe_unused]] Status cut = set_size(size_);
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
  Status written = room_bytes_max_ > 0 ? write_blocks_durably(bytes) : write_durably(size_, bytes);
  if (!written.ok()) {
    [[maybe_unused]] Status cut = set_size(size_);
    return written;
  }
  size_ += bytes.size();
  end_ = std::max(end_, size_);
  return {};
}

// Zeros from `end` on, and before it where nothing is. They are durable with the next sync; till
// then a crash leaves zeros or a file that ends before.
Status AppendFile::make_room(u64 end) {
  static std::vector<Block> zeros(kZeroBlocks);
  u64 ahead = std::clamp(size_ / 4, std::min(kRoomBytesMin, room_bytes_max_), room_bytes_max_);
  end += blocks_for(ahead) * kBlockBytes;
  for (u64 at = blocks_for(end_) * kBlockBytes; at < end;) {
    u64 count = std::min(end - at, kZeroBlocks * kBlockBytes);
    TG_ASSIGN(u64 written, file_->write_at(at, {bytes_of(zeros), count}));
    at += written;
  }
  end_ = end;
  return {};
}

// The block that the file ends in is written again, with what it has. Without room too, whole
// blocks are written: of those a disk writes some sectors or all, and never a part of one.
Status AppendFile::write_blocks_durably(std::span<const u8> bytes) {
  u64 head = size_ % kBlockBytes;
  u64 used = head + bytes.size();
  u64 count = blocks_for(used);
  u64 end = size_ - head + count * kBlockBytes;
  if (end > end_ && bytes.size() <= kZeroedBytesMax) {
    // A disk that is too full for it may have space for the bytes alone.
    [[maybe_unused]] Status made = make_room(end);
  }
  if (blocks_.size() < count) blocks_.resize(count);
  u8* to = bytes_of(blocks_);
  if (blocks_size_ != size_) TG_TRY(read(size_ - head, {to, head}));
  std::copy(bytes.begin(), bytes.end(), to + head);
  std::fill(to + used, to + count * kBlockBytes, u8{0});
  TG_TRY(write_durably(size_ - head, {to, count * kBlockBytes}));
  std::memmove(to, to + used / kBlockBytes * kBlockBytes, used % kBlockBytes);
  blocks_size_ = size_ + bytes.size();
  end_ = std::max(end_, end);
  return {};
}

Status AppendFile::read(u64 offset, std::span<u8> bytes) const {
  TG_ASSERT(file_ != nullptr);
  TG_ASSIGN(u64 count, file_->read_at(offset, bytes));
  if (count == bytes.size()) return {};
  return Error{Code::kCorrupt, path() + ": ends before byte " + std::to_string(offset + count)};
}

Status AppendFile::set_size(u64 size) {
  TG_TRY(file_->set_size(size));
  end_ = size;
  return {};
}

Status AppendFile::truncate(u64 size) {
  TG_ASSERT(file_ != nullptr && size <= size_);
  TG_TRY(set_size(size));
  size_ = size;
  blocks_size_ = 0;
  return file_->sync();
}

Status AppendFile::settle(u64 offset) {
  TG_ASSERT(file_ != nullptr && offset <= size_);
  std::vector<u8> bytes(size_ - offset);
  TG_TRY(read(offset, bytes));
  return write_durably(offset, bytes);
}

}  // namespace tg
