#include "env/disk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace tg {

static Error os_error(const std::string& action, const std::string& path) {
  Code code = errno == ENOENT ? Code::kNotFound : errno == EACCES ? Code::kDenied : Code::kIo;
  return Error{code, "cannot " + action + " " + path + ": " + std::strerror(errno)};
}

namespace {

// Closes the descriptor when the scope ends.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

static Result<u64> regular_file_size(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return os_error("inspect", path);
  if (!S_ISREG(info.st_mode))
    return Error{Code::kInvalid, "cannot read " + path + ": not a regular file"};
  return static_cast<u64>(info.st_size);
}

Result<std::string> read_file(const std::string& path, u64 bytes_max) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return os_error("open", path);
  TG_ASSIGN(u64 size, regular_file_size(fd.get(), path));
  if (size > bytes_max) {
    return Error{Code::kLimit, path + " has " + std::to_string(size) + " bytes, the limit is " +
                                   std::to_string(bytes_max)};
  }
  std::string out(size, '\0');
  u64 done = 0;
  while (done < size) {
    ssize_t n = ::read(fd.get(), out.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error("read", path);
    if (n == 0) break;
    done += static_cast<u64>(n);
  }
  out.resize(done);
  return out;
}

static Status write_all(int fd, std::span<const u8> bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error("write", path);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

static Status sync_folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return os_error("open", folder);
  if (::fsync(fd.get()) != 0) return os_error("sync", folder);
  return {};
}

Status write_file_durably(const std::string& path, std::span<const u8> bytes, u32 mode) {
  std::string temporary = path + ".tmp";
  {
    Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (fd.get() < 0) return os_error("create", temporary);
    // An older temporary may carry wider permissions than asked for.
    if (::fchmod(fd.get(), mode) != 0) return os_error("set permissions of", temporary);
    TG_TRY(write_all(fd.get(), bytes, temporary));
    if (::fsync(fd.get()) != 0) return os_error("sync", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return os_error("rename to", path);
  return sync_folder_of(path);
}

Status ensure_writable_directory(const std::string& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure)
    return Error{Code::kIo, "cannot create directory " + path + ": " + failure.message()};
  if (!std::filesystem::is_directory(path))
    return Error{Code::kInvalid, path + " is not a directory"};
  // Permission bits do not tell the whole truth (read-only mounts, root), so try it.
  std::string probe = path + "/.write-probe";
  Descriptor fd(::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0) return os_error("write in directory", path);
  ::unlink(probe.c_str());
  return {};
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return os_error("open", path);
  TG_ASSIGN(u64 size, regular_file_size(fd.get(), path));
  MappedFile file;
  if (size == 0) return file;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return os_error("map", path);
  file.data_ = static_cast<const u8*>(data);
  file.size_ = size;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<u8*>(data_), size_);
}

void MappedFile::release() const {
  if (data_ != nullptr) ::madvise(const_cast<u8*>(data_), size_, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace tg
