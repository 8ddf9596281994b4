#include "gateway/access/window.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::gateway {

static_assert((SlidingWindow::kBuckets - 1) * SlidingWindow::kBucketNs == SlidingWindow::kSpanNs);

void SlidingWindow::advance(i64 now_ns) {
  i64 bucket = now_ns / kBucketNs;
  if (bucket <= newest_) return;
  i64 steps = std::min<i64>(bucket - newest_, static_cast<i64>(kBuckets));
  for (i64 i = 1; i <= steps; ++i) {
    i64& oldest = at(bucket - steps + i);
    total_ -= oldest;
    oldest = 0;
  }
  newest_ = bucket;
  TG_ASSERT(total_ >= 0);
}

void SlidingWindow::add(i64 amount, i64 now_ns) {
  TG_ASSERT(amount >= 0);
  advance(now_ns);
  at(newest_) += amount;
  total_ += amount;
}

void SlidingWindow::correct(i64 change, i64 at_ns, i64 now_ns) {
  advance(now_ns);
  i64 bucket = std::min(at_ns / kBucketNs, newest_);
  if (bucket <= newest_ - static_cast<i64>(kBuckets)) return;
  change = std::max(change, -at(bucket));
  at(bucket) += change;
  total_ += change;
}

i64 SlidingWindow::total(i64 now_ns) {
  advance(now_ns);
  return total_;
}

i64 SlidingWindow::leaves_in_ns(i64 bucket, i64 now_ns) const {
  return std::max<i64>(1, (bucket + static_cast<i64>(kBuckets)) * kBucketNs - now_ns);
}

i64 SlidingWindow::wait_ns(i64 room, i64 limit, i64 now_ns) {
  TG_ASSERT(room <= limit);
  advance(now_ns);
  i64 left = total_;
  if (left + room <= limit) return 0;
  for (i64 bucket = newest_ - static_cast<i64>(kBuckets) + 1; bucket <= newest_; ++bucket) {
    left -= at(bucket);
    if (left + room <= limit) return leaves_in_ns(bucket, now_ns);
  }
  TG_ASSERT(false);
}

i64 SlidingWindow::empty_in_ns(i64 now_ns) {
  advance(now_ns);
  if (total_ == 0) return 0;
  i64 bucket = newest_;
  while (at(bucket) == 0) --bucket;
  return leaves_in_ns(bucket, now_ns);
}

}  // namespace tg::gateway
