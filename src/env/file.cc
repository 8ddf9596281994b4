#include "env/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/assert.h"

namespace tg {

namespace {

Error failed(const std::string& path, const char* what) {
  return Error{Code::kIo, path + ": " + what + ": " + std::strerror(errno)};
}

class SystemFile final : public File {
 public:
  SystemFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~SystemFile() override {
    ::close(fd_);
    if (block_fd_ >= 0) ::close(block_fd_);
  }
  SystemFile(const SystemFile&) = delete;
  SystemFile& operator=(const SystemFile&) = delete;

  // Whether it could be opened to write blocks too.
  bool open_blocks() {
    block_fd_ = ::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    return block_fd_ >= 0;
  }

  Result<u64> write_at(u64 offset, std::span<const u8> bytes) override {
    TG_ASSERT(!bytes.empty());
    int fd = block_fd_ >= 0 && is_blocks(offset, bytes) ? block_fd_ : fd_;
    while (true) {
      ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n > 0) return static_cast<u64>(n);
      if (n < 0 && errno == EINTR) continue;
      return failed(path_, "write");
    }
  }

  Result<u64> read_at(u64 offset, std::span<u8> bytes) const override {
    u64 done = 0;
    while (done < bytes.size()) {
      ssize_t n =
          ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed(path_, "read");
      if (n == 0) break;
      done += static_cast<u64>(n);
    }
    return done;
  }

  Status sync() override {
    if (::fdatasync(fd_) != 0) return failed(path_, "fdatasync");
    return {};
  }

  Status set_size(u64 size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return failed(path_, "ftruncate");
    return {};
  }

  Result<u64> size() const override {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) return failed(path_, "fstat");
    if (!S_ISREG(status.st_mode)) return Error{Code::kInvalid, path_ + ": not a regular file"};
    return static_cast<u64>(status.st_size);
  }

  const std::string& path() const override { return path_; }

 private:
  static bool is_blocks(u64 offset, std::span<const u8> bytes) {
    u64 address = reinterpret_cast<std::uintptr_t>(bytes.data());
    return (offset | bytes.size() | address) % kBlockBytes == 0;
  }

  std::string path_;
  int fd_;
  int block_fd_ = -1;
};

// A new file's name is durable once its folder is.
Status sync_folder(const std::string& path) {
  std::size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(folder, "open");
  int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) return failed(folder, "fsync");
  return {};
}

}  // namespace

static Result<std::unique_ptr<SystemFile>> open_locked(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path, "open");
  std::unique_ptr<SystemFile> file = std::make_unique<SystemFile>(path, fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return Error{Code::kUnavailable, path + ": another process has it open"};
  TG_ASSIGN(u64 size, file->size());
  if (size == 0) TG_TRY(sync_folder(path));
  return file;
}

Result<std::unique_ptr<File>> open_locked_file(const std::string& path) {
  TG_ASSIGN(std::unique_ptr<SystemFile> file, open_locked(path));
  return std::unique_ptr<File>(std::move(file));
}

Result<std::unique_ptr<File>> open_locked_block_file(const std::string& path) {
  TG_ASSIGN(std::unique_ptr<SystemFile> file, open_locked(path));
  if (!file->open_blocks()) return std::unique_ptr<File>();
  return std::unique_ptr<File>(std::move(file));
}

Result<std::unique_ptr<File>> open_file_to_read(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return Error{Code::kNotFound, "no file " + path};
  if (fd < 0) return failed(path, "open");
  return std::unique_ptr<File>(std::make_unique<SystemFile>(path, fd));
}

}  // namespace tg
