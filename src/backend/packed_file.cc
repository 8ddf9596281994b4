#include "backend/packed_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "base/log.h"

namespace tg::backend {

namespace {

constexpr u64 kPage = 4'096;
constexpr u64 kChunk = u64{2} << 20;
constexpr u8 kMagic[8] = {'T', 'G', 'P', 'A', 'C', 'K', '0', '1'};
constexpr i32 kThreadsMax = 8;

struct Header {
  u8 magic[8];
  u64 arena_bytes;
  Digest key;
  u64 table_sum;  // of the table of sums, one for each chunk, that follows in the next page
};
static_assert(sizeof(Header) == 56);

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

// Finds what went wrong on a disk, not who meant harm. Eight chains of multiplications, so that a
// core sums faster than memory delivers; each step is a bijection, so that no single wrong word is
// missed.
u64 checksum(std::span<const u8> bytes) {
  constexpr u64 kPrime = 0x9E3779B185EBCA87;
  u64 chains[8];
  for (u64 i = 0; i < 8; ++i) chains[i] = (i + 1) * kPrime;
  std::size_t at = 0;
  for (; at + 64 <= bytes.size(); at += 64) {
    u64 words[8];
    std::memcpy(words, bytes.data() + at, sizeof(words));
    for (int i = 0; i < 8; ++i) chains[i] = (chains[i] ^ words[i]) * kPrime;
  }
  u64 sum = bytes.size();
  for (; at < bytes.size(); ++at) sum = (sum ^ bytes[at]) * kPrime;
  for (u64 chain : chains) sum = ((sum ^ (sum >> 29)) ^ chain) * kPrime;
  return sum;
}

std::span<const u8> bytes_of(const std::vector<u64>& table) {
  return {reinterpret_cast<const u8*>(table.data()), table.size() * sizeof(u64)};
}

u64 chunks_of(u64 arena_bytes) {
  return (arena_bytes + kChunk - 1) / kChunk;
}

// Where the payload begins: behind the header's page and those of the table.
u64 payload_offset(u64 arena_bytes) {
  u64 table = chunks_of(arena_bytes) * sizeof(u64);
  return kPage + (table + kPage - 1) / kPage * kPage;
}

template <typename Byte>
std::span<Byte> chunk_of(std::span<Byte> arena, u64 index) {
  u64 first = index * kChunk;
  return arena.subspan(first, std::min<u64>(kChunk, arena.size() - first));
}

bool read_at(int fd, std::span<u8> to, u64 offset) {
  while (!to.empty()) {
    ssize_t n = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to = to.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return true;
}

bool write_at(int fd, std::span<const u8> from, u64 offset) {
  while (!from.empty()) {
    ssize_t n = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    from = from.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return true;
}

// Why the file is not the arena of `key`, or "".
std::string reason_to_refuse(int fd, const Digest& key, std::span<u8> arena,
                             std::vector<u64>& table) {
  Header header;
  if (!read_at(fd, {reinterpret_cast<u8*>(&header), sizeof(header)}, 0)) return "it is too short";
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return "it is of another version";
  if (header.key != key) return "it is of another model, program or backend";
  if (header.arena_bytes != arena.size()) return "its size is wrong";
  table.resize(chunks_of(arena.size()));
  std::span<u8> to(reinterpret_cast<u8*>(table.data()), table.size() * sizeof(u64));
  if (!read_at(fd, to, kPage)) return "it is too short";
  return checksum(to) == header.table_sum ? "" : "its table is damaged";
}

// Reads every chunk; false if one cannot be read or its sum is wrong. Which thread first touches a
// chunk is static, as the kernels' shares are.
bool read_chunks(int fd, const std::vector<u64>& table, std::span<u8> arena, i32 threads) {
  u64 offset = payload_offset(arena.size());
  std::atomic<bool> is_whole = true;
  auto share = [&](u64 part, u64 parts) {
    u64 end = table.size() * (part + 1) / parts;
    for (u64 i = table.size() * part / parts; i < end && is_whole; ++i) {
      std::span<u8> chunk = chunk_of(arena, i);
      if (!read_at(fd, chunk, offset + i * kChunk) || checksum(chunk) != table[i]) is_whole = false;
    }
  };
  u64 parts = static_cast<u64>(std::clamp(threads, 1, kThreadsMax));
  std::vector<std::jthread> others;
  for (u64 part = 1; part < parts; ++part) others.emplace_back(share, part, parts);
  share(0, parts);
  others.clear();
  return is_whole;
}

Error failed(const std::string& action, const std::string& path) {
  return Error{Code::kIo, fmt::format("cannot {} {}: {}", action, path, std::strerror(errno))};
}

Status write_file(const std::string& path, const Digest& key, std::span<const u8> arena) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd.get() < 0) return failed("create", path);
  std::vector<u64> table;
  u64 offset = payload_offset(arena.size());
  for (u64 i = 0; i < chunks_of(arena.size()); ++i) {
    std::span<const u8> chunk = chunk_of(arena, i);
    table.push_back(checksum(chunk));
    if (!write_at(fd.get(), chunk, offset + i * kChunk)) return failed("write", path);
  }
  Header header{
      .magic = {}, .arena_bytes = arena.size(), .key = key, .table_sum = checksum(bytes_of(table))};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  std::span<const u8> head(reinterpret_cast<const u8*>(&header), sizeof(header));
  if (!write_at(fd.get(), bytes_of(table), kPage) || !write_at(fd.get(), head, 0))
    return failed("write", path);
  return {};
}

}  // namespace

bool read_packed(const std::string& path, const Digest& key, std::span<u8> arena, i32 threads) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return false;
  std::vector<u64> table;
  std::string reason = reason_to_refuse(fd.get(), key, arena, table);
  if (reason.empty() && !read_chunks(fd.get(), table, arena, threads)) reason = "it is damaged";
  if (reason.empty()) return true;
  log_info("backend", "{} is not used and will be replaced: {}", path, reason);
  return false;
}

Status write_packed(const std::string& path, const Digest& key, std::span<const u8> arena) {
  std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  Status written = write_file(temporary, key, arena);
  if (written.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    written = failed("rename to", path);
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

}  // namespace tg::backend
