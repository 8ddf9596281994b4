// What a run came to.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/types.h"
#include "fleet/supplier.h"

namespace tg::sim {

// kUnfunded: its tenant could not pay for one token. kCut: it ended where its funds did.
enum class Fate : u8 { kDone, kRefused, kUnfinished, kUnfunded, kCut };

struct RequestResult {
  i64 arrived_ns = 0;
  i64 first_ns = 0;  // 0: none
  i64 done_ns = 0;
  i64 sent_ns = 0;      // to the supplier that is named below
  f64 forecast_ns = 0;  // until the first token, when it was sent
  i32 open = 0;         // requests of ours that this supplier had by then
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;
  i32 prompt_tokens = 0;
  i32 output_tokens = 0;
  u32 supplier = 0;
  u16 attempts = 0;
  Fate fate = Fate::kUnfinished;
  bool was_interrupted = false;  // lost after its first token, and resumed elsewhere
  f64 joules = 0;                // of steps, by all attempts, buildings included

  f64 ttft_s() const { return static_cast<f64>(first_ns - arrived_ns) * 1e-9; }
  f64 tpot_s() const {
    return output_tokens > 1 ? static_cast<f64>(done_ns - first_ns) * 1e-9 / (output_tokens - 1)
                             : 0;
  }
};

struct SupplierResult {
  std::string name;
  i64 requests = 0;
  i64 steps = 0;
  f64 utilisation = 0;
  f64 joules = 0;
  f64 joules_idle = 0;    // of them, drawn with nothing to do
  i64 prompt_tokens = 0;  // computed
  i64 cached_tokens = 0;
  i64 output_tokens = 0;
  i64 preemptions = 0;
};

// What moved through the simulated ledger; amounts in nano-ST, which balance to the last one.
struct MoneyResult {
  bool is_on = false;
  i64 tenants = 0;
  i64 requests = 0;   // held for, and closed
  i64 refused = 0;    // not even one token could be paid for
  i64 cut = 0;        // ended where the funds did
  i64 slices = 0;     // held after the first
  u64 transfers = 0;  // applied
  u128 held = 0;      // by all holds together; charged and released are its parts
  u128 charged = 0;
  u128 released = 0;
  u128 paid = 0;    // to suppliers
  u128 fees = 0;    // paid and fees are all that was charged
  u128 unpaid = 0;  // delivered beyond what was held, and charged to nobody
  u128 left = 0;    // in bundles

  void add(const MoneyResult& more);
};

// First tokens of one service class, in seconds.
struct ClassResult {
  i64 requests = 0;
  f64 ttft_p50 = 0;
  f64 ttft_p99 = 0;
};
inline constexpr std::size_t kClasses = 3;

// Times in seconds. What was refused or never got a token has the length of the run as its TTFT.
struct Summary {
  i64 requests = 0;
  i64 done = 0;
  i64 refused = 0;
  i64 retried = 0;
  i64 interrupted = 0;
  i64 unfunded = 0;
  i64 cut = 0;
  f64 seconds = 0;
  f64 ttft_mean = 0;
  f64 ttft_p50 = 0;
  f64 ttft_p90 = 0;
  f64 ttft_p99 = 0;
  f64 tpot_mean = 0;
  f64 tpot_p99 = 0;
  f64 request_p50 = 0;
  f64 request_p99 = 0;
  f64 goodput = 0;  // share of requests within both targets
  f64 late = 0;     // share of first tokens beyond 2 s
  f64 hit = 0;      // share of prompt tokens served from caches
  f64 price = 0;    // currency, of what was delivered
  f64 st = 0;       // standard tokens of what was delivered
  f64 price_per_st = 0;
  f64 joules = 0;           // of all devices, buildings included
  f64 joules_idle = 0;      // of them, drawn by devices with nothing to do
  f64 joules_requests = 0;  // attributed to requests: with the idle ones, all
  f64 joules_per_st = 0;
  f64 grams = 0;
  f64 utilisation = 0;
  f64 coverage = 0;  // of first tokens below their predicted p90
  u64 decisions = 0;
  f64 decision_us = 0;    // of processor time, mean
  i64 replicas_most = 0;  // ready at once, where they come and go
  f64 replica_hours = 0;
  f64 ready_s = 0;  // when as many were ready as ever
  MoneyResult money;
  std::array<ClassResult, kClasses> classes;  // by fleet::ServiceClass
};

struct RunResult {
  Summary summary;
  std::vector<RequestResult> requests;
  std::vector<SupplierResult> suppliers;
};

// REQUIRES: 0 <= q <= 1. 0 for none.
f64 quantile(std::vector<f64> values, f64 q);

}  // namespace tg::sim
