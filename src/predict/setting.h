// A serving situation whose latencies are to be known, and the table of situations that were
// measured (the format of e2e_silicon/silicon.csv).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "predict/table.h"

namespace tg::predict {

// How one model instance is spread over devices.
struct Layout {
  f64 devices = 1;          // of one instance
  f64 tensor_parallel = 1;  // of its attention
  f64 data_parallel = 1;    // replicas of its attention
  bool splits_experts = false;
};

// Who measured: campaigns differ in harness and in what they leave unsaid.
enum class Campaign : u8 { kDump, kSheet, kOwn };

struct Setting {
  std::string id;
  std::string model;
  std::string system;
  std::string engine;
  std::string version;
  std::string precision;    // "fp8", "fp4", "int4", empty: as the model is stored
  std::string gemm_mode;    // "nvfp4", "fp8_block", ...; empty: follows precision
  std::string expert_mode;  // empty: follows gemm_mode
  bool is_split = false;    // prefill and decode on separate instances
  f64 prompt = 0;           // tokens
  f64 output = 0;           // tokens
  f64 concurrency = 1;      // requests in flight over all instances
  Layout prefill;
  Layout decode;
  f64 prefill_instances = 1;
  f64 decode_instances = 1;
  bool states_instances = true;
  f64 month = 0;  // since 2025-01; 0: not stated
  Campaign campaign = Campaign::kDump;
};

struct Observation {
  Setting setting;
  f64 ttft_ms = 0;  // 0: not measured
  f64 tpot_ms = 0;
  i64 line = 0;
};

// kInvalid naming file, line, column and value: mode other than agg and disagg, lengths or
// concurrency below 1, latencies that are not positive. Empty latencies are 0.
Result<std::vector<Observation>> parse_observations(const Table& table);
Result<std::vector<Observation>> read_observations(const std::string& path);

// What makes two rows the same configuration: everything but concurrency, repetition and date.
std::string configuration_key(const Setting& setting);

}  // namespace tg::predict
