#include "engine/kv/swap_space.h"

#include "base/assert.h"

namespace tg::engine {

SwapSpace::SwapSpace(i64 pages, i64 first)
    : first_(first), is_taken_(static_cast<std::size_t>(pages), false) {
  free_.reserve(is_taken_.size());
  // Handed out from the back: low numbers first.
  for (i64 page = pages - 1; page >= 0; --page) free_.push_back(static_cast<i32>(first + page));
}

i32 SwapSpace::take() {
  TG_ASSERT(!free_.empty());
  i32 page = free_.back();
  free_.pop_back();
  std::size_t at = static_cast<std::size_t>(page - first_);
  TG_ASSERT(!is_taken_[at]);
  is_taken_[at] = true;
  ++used_;
  return page;
}

void SwapSpace::give_back(std::vector<i32>& pages) {
  for (; !pages.empty(); pages.pop_back()) {
    std::size_t at = static_cast<std::size_t>(pages.back() - first_);
    TG_ASSERT(is_taken_[at]);
    is_taken_[at] = false;
    --used_;
    free_.push_back(pages.back());
  }
}

void SwapSpace::check() const {
  TG_ASSERT(free() + used_ == total());
}

}  // namespace tg::engine
