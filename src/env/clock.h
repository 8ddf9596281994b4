// Time as a parameter: decision code takes a Timestamp, loops take a Clock, so that sim/ can
// replace it.
#pragma once

#include <string>

#include "base/types.h"

namespace tg {

// Nanoseconds since the Unix epoch, UTC.
struct Timestamp {
  i64 ns = 0;
  friend constexpr auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

// "2026-11-03T02:17:44.120Z"
std::string to_rfc3339(Timestamp t);

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time, for records.
  virtual Timestamp now() = 0;
  // Monotonic nanoseconds from an arbitrary start, for durations.
  virtual i64 monotonic_ns() = 0;
};

class SystemClock final : public Clock {
 public:
  Timestamp now() override;
  i64 monotonic_ns() override;
};

// A clock that moves only when told to; starts at 2026-01-01T00:00:00Z.
class ManualClock final : public Clock {
 public:
  Timestamp now() override { return Timestamp{ns_}; }
  i64 monotonic_ns() override { return ns_; }
  void advance_ns(i64 ns) { ns_ += ns; }

 private:
  i64 ns_ = 1'767'225'600'000'000'000;
};

}  // namespace tg
