// Counters of one gateway and their Prometheus text. vLLM's metric names where it has one and
// OpenTelemetry's for generative AI beside them, so that existing dashboards work; ours begin with
// "tokengrid:". Labels are models, operations, finish reasons and outcomes, whose number is bounded
// by the configuration, and organisations by id, of which kTenantsMax are told apart.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "env/clock.h"
#include "fleet/supplier.h"
#include "meter/outcome.h"

namespace tg::ledger {
struct LeaseFigures;
}

namespace tg::gateway {

// Bounds in seconds, ascending; one more bucket for the rest.
class Histogram {
 public:
  explicit Histogram(std::span<const f64> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1, 0) {}
  void observe_ns(i64 ns, u64 times = 1);
  // Appends the _bucket, _sum and _count lines. `labels` without braces, not empty.
  void append(std::string& out, const std::string& name, const std::string& labels) const;
  void observe(f64 value, u64 times = 1);

  std::span<const f64> bounds() const { return bounds_; }
  std::span<const u64> counts() const { return counts_; }
  u64 count() const { return count_; }
  f64 sum() const { return sum_; }

 private:
  std::span<const f64> bounds_;  // Static storage.
  std::vector<u64> counts_;
  u64 count_ = 0;
  f64 sum_ = 0;
};

// OpenTelemetry's view of one kind of request to one model.
struct OperationMetrics {
  OperationMetrics();

  Histogram input_tokens;  // Per request.
  Histogram output_tokens;
  Histogram time_to_first_token;
  Histogram time_per_output_token;
  std::map<std::string, Histogram> duration;  // By error.type; "" for none.
};
// gen_ai.operation.name.
enum class Operation : u8 { kChat, kTextCompletion };
inline constexpr std::size_t kOperations = 2;
std::string_view name(Operation operation);  // "chat", "text_completion"

// What one request was, once it has ended.
struct RequestRecord {
  Operation operation = Operation::kChat;
  i32 error_status = 0;  // 0: none.
  i64 input_tokens = 0;
  i64 output_tokens = 0;
  i64 duration_ns = 0;
  i64 first_token_ns = 0;       // 0: none came.
  i64 per_output_token_ns = 0;  // 0: fewer than two came.
};

struct ModelMetrics {
  ModelMetrics();
  void record(const RequestRecord& request);

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
  Histogram queue_wait;  // At the gateway, for capacity.
  std::array<OperationMetrics, kOperations> operations;
};

struct TenantMetrics {
  u64 requests = 0;
  u64 tokens = 0;
  u64 nominal_nst = 0;
};
inline constexpr std::size_t kTenantsMax = 100;

struct GatewayMetrics {
  // Of an organisation; of all that came after the first kTenantsMax, "other".
  TenantMetrics& tenant(const std::string& id);
  std::map<std::string, TenantMetrics> tenants;

  std::map<i32, u64> responses;  // By HTTP status.
  i64 connections_open = 0;
  u64 connections_total = 0;
  u64 connections_refused = 0;
  i64 requests_open = 0;
  i64 holds_open = 0;
  u64 billing_failures = 0;
  std::array<u64, 4> limit_refusals{};  // By LimitedResource.
};

struct ModelSample {
  std::string model;
  const ModelMetrics* metrics = nullptr;
  fleet::SupplierLoad load;
  i64 queue_waiting = 0;  // At the gateway.
};

// The whole page; models appear in the given order. `leases`: of a gateway that leases.
std::string metrics_text(const GatewayMetrics& gateway, std::span<const ModelSample> models,
                         const ledger::LeaseFigures* leases = nullptr);

// The same numbers as an OTLP/HTTP JSON request body (ExportMetricsServiceRequest); cumulative.
struct OtlpResource {
  std::string service_name;
  std::string instance;  // service.instance.id
  Timestamp started;
  Timestamp now;
};
std::string otlp_json(const OtlpResource& resource, const GatewayMetrics& gateway,
                      std::span<const ModelSample> models,
                      const ledger::LeaseFigures* leases = nullptr);

// "standard", "money", "budget": what metrics of leased accounts are labelled with.
std::string_view ledger_name(u32 ledger);

}  // namespace tg::gateway
