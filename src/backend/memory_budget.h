// What the executors of a process may take together. Each asks before it allocates and gives back
// what it took when it ends, from whatever thread.
#pragma once

#include <mutex>

#include "base/assert.h"
#include "base/types.h"

namespace tg::backend {

class MemoryBudget {
 public:
  explicit MemoryBudget(u64 bytes_max) : bytes_max_(bytes_max) {}

  u64 bytes_max() const { return bytes_max_; }
  u64 taken() const {
    std::lock_guard lock(mutex_);
    return taken_;
  }
  // False, and nothing taken, if that would be more than there is.
  bool take(u64 bytes) {
    std::lock_guard lock(mutex_);
    if (bytes > bytes_max_ - taken_) return false;
    taken_ += bytes;
    return true;
  }
  void give_back(u64 bytes) {
    std::lock_guard lock(mutex_);
    TG_ASSERT(bytes <= taken_);
    taken_ -= bytes;
  }

 private:
  const u64 bytes_max_;
  mutable std::mutex mutex_;
  u64 taken_ = 0;
};

}  // namespace tg::backend
