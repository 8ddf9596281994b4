// Counters of one gateway and their Prometheus text. vLLM's metric names where it has one, so that
// existing dashboards work; ours begin with "tokengrid:". Labels are models, finish reasons and
// outcomes only: their number is bounded by the configuration.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/types.h"
#include "fleet/supplier.h"
#include "meter/outcome.h"

namespace tg::gateway {

// Bounds in seconds, ascending; one more bucket for the rest.
class Histogram {
 public:
  explicit Histogram(std::span<const f64> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1, 0) {}
  void observe_ns(i64 ns);
  // Appends the _bucket, _sum and _count lines. `labels` without braces, not empty.
  void append(std::string& out, const std::string& name, const std::string& labels) const;

 private:
  std::span<const f64> bounds_;  // Static storage.
  std::vector<u64> counts_;
  u64 count_ = 0;
  f64 sum_ = 0;
};

struct ModelMetrics {
  ModelMetrics();

  u64 prompt_tokens = 0;
  u64 cached_tokens = 0;
  u64 generation_tokens = 0;
  std::map<std::string, u64> finished;     // Choices by OpenAI finish reason.
  std::map<meter::Outcome, u64> outcomes;  // Runs by outcome.
  i64 whole_replies = 0;                   // Ended by themselves or at their limit.
  i64 whole_reply_tokens = 0;
  u64 nominal_nst = 0;
  u128 actual_atto_st = 0;
  u64 receipts = 0;
  u64 charged_nst = 0;
  Histogram time_to_first_token;
  Histogram inter_token_latency;
  Histogram time_per_output_token;
  Histogram e2e_latency;
};

struct GatewayMetrics {
  std::map<i32, u64> responses;  // By HTTP status.
  i64 connections_open = 0;
  u64 connections_total = 0;
  u64 connections_refused = 0;
  i64 requests_open = 0;
  i64 holds_open = 0;
  u64 billing_failures = 0;
};

struct ModelSample {
  std::string model;
  const ModelMetrics* metrics = nullptr;
  fleet::SupplierLoad load;
};

// The whole page; models appear in the given order.
std::string metrics_text(const GatewayMetrics& gateway, std::span<const ModelSample> models);

}  // namespace tg::gateway
