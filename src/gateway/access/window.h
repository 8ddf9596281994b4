// How much happened in the last minute, without a list of what happened: a ring of buckets of four
// seconds. A bucket counts until all of it is a minute old, so no interval of sixty seconds ever
// holds more than was allowed; the price is that room comes back up to four seconds late.
#pragma once

#include <array>

#include "base/types.h"

namespace tg::gateway {

class SlidingWindow {
 public:
  static constexpr i64 kSpanNs = 60'000'000'000;
  static constexpr i64 kBucketNs = 4'000'000'000;
  static constexpr std::size_t kBuckets = 16;  // A span and the bucket that is being filled.

  // Times are monotonic; what is older than the newest time seen counts as that time.
  void add(i64 amount, i64 now_ns);
  // Lowers or raises what was added at `at_ns`, if it is still in the window. Never below 0.
  void correct(i64 change, i64 at_ns, i64 now_ns);
  i64 total(i64 now_ns);
  // From now until `room` more fits under `limit`; 0 if it does. REQUIRES: room <= limit.
  i64 wait_ns(i64 room, i64 limit, i64 now_ns);
  // From now until nothing of it is left.
  i64 empty_in_ns(i64 now_ns);

 private:
  void advance(i64 now_ns);
  // Bucket numbers are of time; a bucket leaves the window this long after now.
  i64 leaves_in_ns(i64 bucket, i64 now_ns) const;
  i64& at(i64 bucket) { return buckets_[static_cast<u64>(bucket) % kBuckets]; }

  std::array<i64, kBuckets> buckets_{};
  i64 newest_ = 0;  // Number of the bucket being filled.
  i64 total_ = 0;
};

}  // namespace tg::gateway
