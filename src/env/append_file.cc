#include "env/append_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"

namespace tg {

static Error failed(const std::string& path, const char* what) {
  return Error{Code::kIo, path + ": " + what + ": " + std::strerror(errno)};
}

// A new file's name is durable once its folder is.
static Status sync_folder(const std::string& path) {
  std::size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(folder, "open");
  int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) return failed(folder, "fsync");
  return {};
}

Result<AppendFile> AppendFile::open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path, "open");
  AppendFile file(path, fd, 0);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return Error{Code::kUnavailable, path + ": another process has it open"};
  struct stat status {};
  if (::fstat(fd, &status) != 0) return failed(path, "fstat");
  if (!S_ISREG(status.st_mode)) return Error{Code::kInvalid, path + ": not a regular file"};
  file.size_ = static_cast<u64>(status.st_size);
  if (file.size_ == 0) TG_TRY(sync_folder(path));
  return file;
}

AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  path_ = std::move(other.path_);
  fd_ = std::exchange(other.fd_, -1);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

static Status write_all(int fd, const std::string& path, std::span<const u8> bytes, u64 offset) {
  while (!bytes.empty()) {
    ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed(path, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return {};
}

Status AppendFile::append_durably(std::span<const u8> bytes) {
  TG_ASSERT(fd_ >= 0);
  Status written = write_all(fd_, path_, bytes, size_);
  if (written.ok() && ::fdatasync(fd_) != 0) written = failed(path_, "fdatasync");
  if (!written.ok()) {
    [[maybe_unused]] int result = ::ftruncate(fd_, static_cast<off_t>(size_));
    return written;
  }
  size_ += bytes.size();
  return {};
}

Status AppendFile::read(u64 offset, std::span<u8> bytes) const {
  TG_ASSERT(fd_ >= 0);
  while (!bytes.empty()) {
    ssize_t n = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path_, "read");
    if (n == 0)
      return Error{Code::kCorrupt, path_ + ": ends before byte " + std::to_string(offset)};
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return {};
}

Status AppendFile::truncate(u64 size) {
  TG_ASSERT(fd_ >= 0 && size <= size_);
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return failed(path_, "ftruncate");
  if (::fdatasync(fd_) != 0) return failed(path_, "fdatasync");
  size_ = size;
  return {};
}

}  // namespace tg
