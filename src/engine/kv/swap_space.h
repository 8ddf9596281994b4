// Book-keeping of the host's pages beside the pool, where the keys of sequences lie that gave way
// and wait: who is admitted again copies them back instead of computing them.
#pragma once

#include <vector>

#include "base/types.h"

namespace tg::engine {

class SwapSpace {
 public:
  // `pages` of them, which the executor numbers from `first` on.
  SwapSpace(i64 pages, i64 first);

  i64 total() const { return static_cast<i64>(is_taken_.size()); }
  i64 free() const { return static_cast<i64>(free_.size()); }
  i64 used() const { return used_; }

  // One page. REQUIRES: free() > 0.
  i32 take();
  // Gives back all of `pages` and empties it.
  void give_back(std::vector<i32>& pages);
  // Asserts free + used = total.
  void check() const;

 private:
  i64 first_;
  std::vector<i32> free_;
  std::vector<bool> is_taken_;
  i64 used_ = 0;
};

}  // namespace tg::engine
