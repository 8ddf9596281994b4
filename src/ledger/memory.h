// Waiting less for memory. Pages of 2 MiB where the system has them: what is looked up at random
// over many megabytes waits for the translation of addresses longer than for the memory, and a
// journal that grows pays for each page it touches first. And prefetching that stays.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace tg::ledger {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// A hint that what lies there is about to be used and changed.
inline void prefetch_for_write(const void* memory) {
  __builtin_prefetch(memory, 1);
  // GCC takes a function that only prefetches for one without effect and drops the calls.
  asm volatile("");
}

// For the standard's containers; less than a huge page comes from the heap as ever.
template <typename T>
class HugePageAllocator {
 public:
  using value_type = T;

  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}  // NOLINT: allocators convert.

  T* allocate(std::size_t count) {
    std::size_t bytes = count * sizeof(T);
    if (bytes < kHugePageBytes) return static_cast<T*>(::operator new(bytes));
    bytes = (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    void* memory = ::operator new (bytes, std::align_val_t{kHugePageBytes});
    // A system that has none says so, and small pages do too.
    [[maybe_unused]] int advised = ::madvise(memory, bytes, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    if (count * sizeof(T) < kHugePageBytes) return ::operator delete(memory);
    ::operator delete (memory, std::align_val_t{kHugePageBytes});
  }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }
};

}  // namespace tg::ledger
