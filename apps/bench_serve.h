// `tokengrid bench serve`: a server under load, seen from its clients.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct ServeBenchOptions {
  std::string url;    // of a server that runs already; "": our own is started on loopback
  std::string key;    // for it
  std::string model;  // for our own; "": the bundled one
  std::string name;   // of the server in the report
  std::string case_name = "load";  // load, stall or prefix
  i32 threads = 0;
  i64 clients = 32;
  i64 requests = 64;
  i64 prompt_bytes = 128;
  i64 own_bytes = 32;  // of each prompt after the common prefix
  i64 output_tokens = 64;
  u64 seed = 1;
  bool json = false;
  std::string svg;  // file for the plot; "": none
};

// load: so many clients, each asking again when it has its answer. stall: one stream runs, then a
// prompt of `prompt_bytes` arrives beside it. prefix: all clients at once, with one common prefix
// of `prompt_bytes` and `own_bytes` of their own.
Status bench_serve(const ServeBenchOptions& options);

}  // namespace tg::apps
