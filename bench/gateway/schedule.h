// When the requests of an open loop are due, whatever the server does.
#pragma once

#include <vector>

#include "base/types.h"

namespace tg::bench {

// The rate rises (or falls) evenly from one value to the other.
struct Segment {
  f64 rate_from = 0;  // requests per second
  f64 rate_to = 0;
  f64 seconds = 0;
};

// Nanoseconds from the start, in order. Evenly spaced; with a seed other than 0 the distances are
// drawn from the exponential distribution (a Poisson process).
std::vector<i64> due_times(const std::vector<Segment>& segments, u64 seed);

}  // namespace tg::bench
