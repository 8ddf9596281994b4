// What is asked for and when: traces that others published, and generated ones. A trace says
// lengths, times and which prompt blocks are equal; it says no words.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::sim {

struct TraceRequest {
  i64 at_ns = 0;
  i32 prompt_tokens = 0;
  i32 output_tokens = 0;
  u32 tenant = 0;
  u32 first_block = 0;  // in Trace::blocks
  u32 blocks = 0;
};

struct Trace {
  std::string name;
  i64 block_tokens = 512;
  std::vector<TraceRequest> requests;  // by time
  std::vector<u64> blocks;             // chained hashes

  std::span<const u64> blocks_of(const TraceRequest& r) const {
    return std::span<const u64>(blocks).subspan(r.first_block, r.blocks);
  }
  i64 length_ns() const { return requests.empty() ? 0 : requests.back().at_ns; }
};

inline constexpr i64 kTraceRequestsMax = 50'000'000;

// Mooncake's JSON lines (timestamp in ms, input_length, output_length, hash_ids) or Azure's CSV
// (TIMESTAMP,ContextTokens,GeneratedTokens), told apart by the first byte; gzip or plain. kInvalid
// naming file, line and value.
Result<Trace> read_trace(const std::string& path);
Result<Trace> parse_trace(std::string_view text, std::string_view file);

// Traffic of many tenants in the manner of ServeGen: each has a rate, bursts and lengths of its
// own, and conversations that come back with all that was said before.
struct GeneratorOptions {
  f64 seconds = 600;
  f64 rate = 10;            // requests per second, all tenants
  i64 tenants = 100;        // of which the k-th has a share of k^-1
  f64 burstiness = 2;       // squared coefficient of variation of gaps; 1: Poisson
  f64 prompt_median = 700;  // tokens of a turn, lognormal
  f64 prompt_sigma = 1.1;
  f64 output_mean = 300;  // exponential
  f64 turns = 3;          // of a conversation, on average
  i64 prompt_max = 32'000;
  u64 seed = 1;
};
Trace generate(const GeneratorOptions& options);

// Arrivals at random whose rate jumps at once; lengths of short chats.
struct StepOptions {
  f64 rate_before = 10;
  f64 rate_after = 10'000;
  f64 jump_s = 60;
  f64 seconds = 300;
  f64 prompt_mean = 500;
  f64 output_mean = 200;
  u64 seed = 1;
};
Trace step_traffic(const StepOptions& options);

// The same requests at `factor` times the rate, moved within `jitter_ns` of their time: seeds are
// different days of the same traffic.
Trace at_load(const Trace& trace, f64 factor, i64 jitter_ns, u64 seed);

}  // namespace tg::sim
