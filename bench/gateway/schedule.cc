#include "bench/gateway/schedule.h"

#include <cmath>
#include <random>

namespace tg::bench {
namespace {

constexpr f64 kNsPerSecond = 1e9;

// Requests due within the first t seconds.
f64 total_at(const Segment& segment, f64 t) {
  f64 slope = (segment.rate_to - segment.rate_from) / segment.seconds;
  return segment.rate_from * t + slope * t * t / 2;
}

// The inverse of total_at.
f64 time_of(const Segment& segment, f64 total) {
  f64 slope = (segment.rate_to - segment.rate_from) / segment.seconds;
  if (std::abs(slope) < 1e-9) return total / segment.rate_from;
  return (-segment.rate_from +
          std::sqrt(segment.rate_from * segment.rate_from + 2 * slope * total)) /
         slope;
}

}  // namespace

std::vector<i64> due_times(const std::vector<Segment>& segments, u64 seed) {
  std::vector<i64> out;
  std::mt19937_64 random(seed);
  std::exponential_distribution<f64> gap(1.0);
  f64 start = 0;
  for (const Segment& segment : segments) {
    f64 end = total_at(segment, segment.seconds);
    for (f64 at = seed == 0 ? 0.5 : gap(random); at < end; at += seed == 0 ? 1.0 : gap(random)) {
      out.push_back(static_cast<i64>((start + time_of(segment, at)) * kNsPerSecond));
    }
    start += segment.seconds;
  }
  return out;
}

}  // namespace tg::bench
