#include "backend/cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <utility>

namespace tg::backend::cpu {

namespace {

constexpr u64 kHugePage = u64{2} << 20;

}  // namespace

Result<Block> Block::allocate(u64 bytes) {
  u64 page = bytes >= kHugePage ? kHugePage : 4'096;
  u64 size = std::max<u64>((bytes + page - 1) / page * page, page);
  // The start is moved up to a page's boundary; the slack costs addresses, never memory.
  u64 mapped = size + page;
  void* at = size < bytes || mapped < size ? MAP_FAILED
                                           : mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    return Error{Code::kUnavailable, "cpu: cannot allocate " + std::to_string(bytes) + " bytes"};
  }
  u64 start = reinterpret_cast<u64>(at);
  u64 first = (start + page - 1) / page * page;
  if (first > start) munmap(at, first - start);
  u64 rest = start + mapped - (first + size);
  if (rest > 0) munmap(reinterpret_cast<void*>(first + size), rest);
  if (page == kHugePage) madvise(reinterpret_cast<void*>(first), size, MADV_HUGEPAGE);
  return Block(reinterpret_cast<u8*>(first), bytes, size);
}

Block::Block(Block&& other) noexcept
    : data_(other.data_), bytes_(other.bytes_), mapped_(std::exchange(other.mapped_, 0)) {}

Block::~Block() {
  if (mapped_ > 0) munmap(data_, mapped_);
}

}  // namespace tg::backend::cpu
