// The live side of limits: what every subject has used in the last minute and has open now. A
// request is admitted by all four of its levels or by none. What it may use at most is counted at
// admission and corrected when it ends, so that no burst of concurrent requests passes a limit.
// Pure: time is an argument, one owner. Constant time per request, whatever the number of keys.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "gateway/access/identity.h"
#include "gateway/access/window.h"

namespace tg::gateway {

// What one request uses, or may use at most.
struct Demand {
  i64 tokens = 0;
  i64 nst = 0;
};

enum class LimitedResource : u8 { kRequests, kTokens, kWork, kConcurrent };

struct LimitRefusal {
  const Subject* subject = nullptr;  // Of the standing that was refused.
  LimitedResource resource = LimitedResource::kRequests;
  i64 limit = 0;
  i64 wanted = 0;
  i64 wait_ns = 0;        // Until it may be tried again.
  bool is_never = false;  // More than the limit itself: waiting does not help.
};

// Of one resource, the level that has least left.
struct Headroom {
  i64 limit = 0;  // 0: no level limits it.
  i64 remaining = 0;
  i64 reset_ns = 0;  // Until nothing is counted any more.
};

class LimitBook {
 public:
  std::optional<LimitRefusal> admit(const Standing& standing, const Demand& most, i64 now_ns);
  // Once for every admitted request, with what admit() was told.
  struct Ended {
    Demand most;
    Demand used;
    i64 admitted_ns = 0;
  };
  void end(const Standing& standing, const Ended& ended, i64 now_ns);

  Headroom headroom(const Standing& standing, LimitedResource resource, i64 now_ns);
  i64 open(const Subject& subject) const;
  // Forgets subjects that have used nothing for a window; call now and then.
  void sweep(i64 now_ns);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    SlidingWindow requests;
    SlidingWindow tokens;
    SlidingWindow work;
    i64 open = 0;
    i64 used_ns = 0;
  };
  Entry& entry(const Subject& subject);
  std::optional<LimitRefusal> check(const Subject& subject, const Demand& most, i64 now_ns);

  std::unordered_map<u64, std::unique_ptr<Entry>> entries_;  // By Subject::number.
};

}  // namespace tg::gateway
