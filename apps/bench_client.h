// One streaming completion over HTTP, timed event by event: what a client of any server with
// OpenAI's API sees. Used against our own server and others' alike.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::apps {

struct Target {
  std::string host = "127.0.0.1";
  u16 port = 0;
  std::string key;    // "": no authorisation
  std::string model;  // its name in requests
};

struct StreamTimes {
  i64 start_ns = 0;
  std::vector<i64> event_ns;  // of each event that brought text, by the monotonic clock
  i64 prompt_tokens = 0, cached_tokens = 0, output_tokens = 0;  // as the server's usage says

  i64 first_ns() const { return event_ns.empty() ? 0 : event_ns.front() - start_ns; }
  // The longest wait between two events.
  i64 worst_gap_ns() const;
};

// "http://127.0.0.1:8080" into host and port.
Result<Target> parse_url(const std::string& url);

// POST /v1/completions with stream, temperature 0, and usage at the end. kIo with the server's own
// words if it refuses.
Result<StreamTimes> stream_completion(const Target& target, const std::string& prompt,
                                      i64 max_tokens);

// The id of the first model the server lists.
Result<std::string> first_model(const Target& target);

}  // namespace tg::apps
