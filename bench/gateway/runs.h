// The load generator's three kinds of run. What each prints is one JSON object.
#pragma once

#include <string>
#include <vector>

#include "bench/gateway/asio.h"
#include "bench/gateway/process_use.h"
#include "bench/gateway/schedule.h"

namespace tg::bench {

struct LoadOptions {
  tcp::endpoint endpoint;
  std::string request;     // as sent
  i64 clients = 1;         // connections at most
  f64 seconds = 1;         // measured
  f64 warmup_seconds = 0;  // before that
  std::vector<i64> pids;   // whose use is measured
  std::vector<Segment> segments;
  u64 seed = 0;  // of arrivals; 0: evenly spaced
};

// Every client asks again as soon as it has its answer: for CPU per request and capacity.
std::string run_closed(const LoadOptions& options);
// Requests leave when they are due, and latency counts from then, however late the server is; a
// request for which no connection is free waits for one.
std::string run_open(const LoadOptions& options);
// Holds one stream per client, opened over the warm-up.
std::string run_streams(const LoadOptions& options);

}  // namespace tg::bench
