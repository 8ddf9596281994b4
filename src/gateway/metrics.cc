#include "gateway/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "ledger/lease_tender.h"
#include "ledger/types.h"
#include "unit/standard_token.h"

namespace tg::gateway {
namespace {

// vLLM's bucket bounds, so that dashboards made for it line up.
constexpr f64 kFirstTokenBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                     0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                     20,    40,    80,   160,  640,  2560};
constexpr f64 kTokenBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                                0.4,   0.5,    0.75,  1,    2.5,   5,    7.5,   10,  20,   40,  80};
constexpr f64 kRequestBounds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                  30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};

// The bounds that OpenTelemetry's conventions for generative AI advise.
constexpr f64 kUsageBounds[] = {1,     4,     16,     64,      256,     1024,     4096,
                                16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
constexpr f64 kDurationBounds[] = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                   1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
constexpr f64 kServerFirstBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                      0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0};
constexpr f64 kServerTokenBounds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                      0.3,  0.4,   0.5,  0.75,  1.0, 2.5};

std::string label_value(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out.push_back('\\');
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

void append_type(std::string& out, const char* name, const char* type, const char* help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

// Nano-units as a decimal number of units, exactly.
std::string nano_text(u128 nano) {
  constexpr u128 kUnit = 1'000'000'000;
  return fmt::format("{}.{:09}", static_cast<u64>(nano / kUnit), static_cast<u64>(nano % kUnit));
}

// One line per model with a value that `read` takes from the sample.
template <typename F>
void append_each(std::string& out, std::span<const ModelSample> models, const char* name,
                 const char* type, const char* help, F read) {
  append_type(out, name, type, help);
  for (const ModelSample& sample : models) {
    out +=
        fmt::format("{}{{model_name=\"{}\"}} {}\n", name, label_value(sample.model), read(sample));
  }
}

void append_histograms(std::string& out, std::span<const ModelSample> models, const char* name,
                       const char* help, Histogram ModelMetrics::*member) {
  append_type(out, name, "histogram", help);
  for (const ModelSample& sample : models) {
    (sample.metrics->*member)
        .append(out, name, fmt::format("model_name=\"{}\"", label_value(sample.model)));
  }
}

void append_loads(std::string& out, std::span<const ModelSample> models) {
  append_each(out, models, "vllm:num_requests_running", "gauge", "Requests in the running batch.",
              [](const ModelSample& s) { return s.load.running; });
  append_each(out, models, "vllm:num_requests_waiting", "gauge", "Requests waiting to run.",
              [](const ModelSample& s) { return s.load.waiting; });
  append_each(out, models, "vllm:kv_cache_usage_perc", "gauge", "KV pages in use; 1 is all.",
              [](const ModelSample& s) {
                f64 total = static_cast<f64>(s.load.kv_pages_total);
                return total > 0 ? 1 - static_cast<f64>(s.load.kv_pages_free) / total : 0.0;
              });
}

void append_resting(std::string& out, std::span<const ModelSample> models) {
  append_each(out, models, "tokengrid:engine_resting", "gauge",
              "1: unloaded while nobody asks; the next request loads it again.",
              [](const ModelSample& s) { return s.load.is_resting ? 1 : 0; });
}

void append_tokens(std::string& out, std::span<const ModelSample> models) {
  append_each(out, models, "vllm:prompt_tokens_total", "counter", "Prompt tokens of ended runs.",
              [](const ModelSample& s) { return s.metrics->prompt_tokens; });
  append_each(out, models, "vllm:generation_tokens_total", "counter", "Output tokens delivered.",
              [](const ModelSample& s) { return s.metrics->generation_tokens; });
  append_each(out, models, "tokengrid:cached_tokens_total", "counter",
              "Prompt tokens served from a prefix cache.",
              [](const ModelSample& s) { return s.metrics->cached_tokens; });
  append_histograms(out, models, "vllm:time_to_first_token_seconds",
                    "From the request's last byte to the first token's arrival.",
                    &ModelMetrics::time_to_first_token);
  append_histograms(out, models, "vllm:inter_token_latency_seconds",
                    "Between arrivals of a choice's output tokens.",
                    &ModelMetrics::inter_token_latency);
  append_histograms(out, models, "vllm:time_per_output_token_seconds",
                    "Mean per token after a choice's first.", &ModelMetrics::time_per_output_token);
  append_histograms(out, models, "vllm:e2e_request_latency_seconds",
                    "From the request's last byte to its end.", &ModelMetrics::e2e_latency);
}

void append_endings(std::string& out, std::span<const ModelSample> models) {
  append_type(out, "vllm:request_success_total", "counter", "Choices that ended, by reason.");
  for (const ModelSample& sample : models) {
    for (const auto& [reason, count] : sample.metrics->finished) {
      out +=
          fmt::format("vllm:request_success_total{{model_name=\"{}\",finished_reason=\"{}\"}} {}\n",
                      label_value(sample.model), reason, count);
    }
  }
  append_type(out, "tokengrid:outcomes_total", "counter", "Runs that ended, by outcome.");
  for (const ModelSample& sample : models) {
    for (const auto& [outcome, count] : sample.metrics->outcomes) {
      out += fmt::format("tokengrid:outcomes_total{{model_name=\"{}\",outcome=\"{}\"}} {}\n",
                         label_value(sample.model), meter::name(outcome), count);
    }
  }
}

// Only of models whose suppliers know it; together they are what the devices drew.
void append_energy(std::string& out, std::span<const ModelSample> models) {
  auto is_known = [](const ModelSample& s) {
    return s.load.energy.source != fleet::EnergySource::kNone;
  };
  if (std::ranges::none_of(models, is_known)) return;
  append_type(out, "tokengrid:energy_joules_total", "counter",
              "Drawn by devices, for requests and while idle.");
  for (const ModelSample& s : models) {
    if (!is_known(s)) continue;
    const char* source =
        s.load.energy.source == fleet::EnergySource::kMeasured ? "measured" : "modelled";
    for (const auto& [part, joules] : {std::pair{"requests", s.load.energy.request_joules},
                                       std::pair{"idle", s.load.energy.idle_joules}}) {
      out += fmt::format(
          "tokengrid:energy_joules_total{{model_name=\"{}\",part=\"{}\",source=\"{}\"}} {}\n",
          label_value(s.model), part, source, joules);
    }
  }
}

void append_work(std::string& out, std::span<const ModelSample> models) {
  append_each(out, models, "tokengrid:nominal_st_total", "counter", "Nominal work, ST.",
              [](const ModelSample& s) { return nano_text(s.metrics->nominal_nst); });
  append_each(out, models, "tokengrid:actual_st_total", "counter", "Actual work, ST.",
              [](const ModelSample& s) {
                return nano_text(s.metrics->actual_atto_st / unit::kAttoPerNano);
              });
  append_each(out, models, "tokengrid:charged_st_total", "counter", "Charged to accounts, ST.",
              [](const ModelSample& s) { return nano_text(s.metrics->charged_nst); });
  append_each(out, models, "tokengrid:receipts_total", "counter", "Receipts issued.",
              [](const ModelSample& s) { return s.metrics->receipts; });
}

// ---- OpenTelemetry's names, as its Prometheus exporters write them ------------------------------

std::string operation_labels(const ModelSample& sample, std::size_t operation) {
  std::string model = label_value(sample.model);
  return fmt::format(
      "gen_ai_operation_name=\"{}\",gen_ai_provider_name=\"tokengrid\",gen_ai_request_model=\"{}\","
      "gen_ai_response_model=\"{}\"",
      name(static_cast<Operation>(operation)), model, model);
}

template <typename F>
void append_operations(std::string& out, std::span<const ModelSample> models, const char* metric,
                       const char* help, F append) {
  append_type(out, metric, "histogram", help);
  for (const ModelSample& sample : models) {
    for (std::size_t i = 0; i < kOperations; ++i) {
      append(sample.metrics->operations[i], operation_labels(sample, i));
    }
  }
}

void append_generative(std::string& out, std::span<const ModelSample> models) {
  const char* usage = "gen_ai_client_token_usage";
  append_operations(out, models, usage, "Input and output tokens per request.",
                    [&](const OperationMetrics& m, const std::string& labels) {
                      m.input_tokens.append(out, usage, labels + ",gen_ai_token_type=\"input\"");
                      m.output_tokens.append(out, usage, labels + ",gen_ai_token_type=\"output\"");
                    });
  const char* duration = "gen_ai_server_request_duration_seconds";
  append_operations(out, models, duration, "From a request's last byte to its end.",
                    [&](const OperationMetrics& m, const std::string& labels) {
                      for (const auto& [error, histogram] : m.duration) {
                        std::string type =
                            error.empty() ? "" : fmt::format(",error_type=\"{}\"", error);
                        histogram.append(out, duration, labels + type);
                      }
                    });
  const char* first = "gen_ai_server_time_to_first_token_seconds";
  append_operations(out, models, first, "To the first token of successful requests.",
                    [&](const OperationMetrics& m, const std::string& labels) {
                      m.time_to_first_token.append(out, first, labels);
                    });
  const char* each = "gen_ai_server_time_per_output_token_seconds";
  append_operations(out, models, each, "Per token after the first, of successful requests.",
                    [&](const OperationMetrics& m, const std::string& labels) {
                      m.time_per_output_token.append(out, each, labels);
                    });
}

constexpr const char* kRefusedResources[] = {"requests", "tokens", "work", "concurrent"};

void append_access(std::string& out, const GatewayMetrics& gateway,
                   std::span<const ModelSample> models) {
  append_type(out, "tokengrid:limit_refusals_total", "counter", "Requests refused by a limit.");
  for (std::size_t i = 0; i < gateway.limit_refusals.size(); ++i) {
    out += fmt::format("tokengrid:limit_refusals_total{{resource=\"{}\"}} {}\n",
                       kRefusedResources[i], gateway.limit_refusals[i]);
  }
  append_each(out, models, "tokengrid:queue_waiting", "gauge", "Requests waiting for capacity.",
              [](const ModelSample& s) { return s.queue_waiting; });
  append_histograms(out, models, "tokengrid:queue_wait_seconds", "Wait for capacity.",
                    &ModelMetrics::queue_wait);
  struct Column {
    const char* name;
    u64 TenantMetrics::*value;
  };
  constexpr Column kColumns[] = {
      {"tokengrid:organisation_requests_total", &TenantMetrics::requests},
      {"tokengrid:organisation_tokens_total", &TenantMetrics::tokens}};
  for (const Column& column : kColumns) {
    append_type(out, column.name, "counter", "By organisation.");
    for (const auto& [id, tenant] : gateway.tenants) {
      out += fmt::format("{}{{organisation=\"{}\"}} {}\n", column.name, label_value(id),
                         tenant.*column.value);
    }
  }
  append_type(out, "tokengrid:organisation_nominal_st_total", "counter", "Nominal work, ST.");
  for (const auto& [id, tenant] : gateway.tenants) {
    out += fmt::format("tokengrid:organisation_nominal_st_total{{organisation=\"{}\"}} {}\n",
                       label_value(id), nano_text(tenant.nominal_nst));
  }
}

void append_gateway(std::string& out, const GatewayMetrics& gateway) {
  append_type(out, "tokengrid:http_responses_total", "counter", "Responses by status.");
  for (const auto& [status, count] : gateway.responses) {
    out += fmt::format("tokengrid:http_responses_total{{status=\"{}\"}} {}\n", status, count);
  }
  append_type(out, "tokengrid:connections_open", "gauge", "Client connections.");
  out += fmt::format("tokengrid:connections_open {}\n", gateway.connections_open);
  append_type(out, "tokengrid:connections_total", "counter", "Client connections accepted.");
  out += fmt::format("tokengrid:connections_total {}\n", gateway.connections_total);
  append_type(out, "tokengrid:connections_refused_total", "counter", "Refused at the limit.");
  out += fmt::format("tokengrid:connections_refused_total {}\n", gateway.connections_refused);
  append_type(out, "tokengrid:requests_open", "gauge", "Completion requests being served.");
  out += fmt::format("tokengrid:requests_open {}\n", gateway.requests_open);
  append_type(out, "tokengrid:holds_open", "gauge", "Holds granted and not closed.");
  out += fmt::format("tokengrid:holds_open {}\n", gateway.holds_open);
  append_type(out, "tokengrid:billing_failures_total", "counter", "Closes that did not settle.");
  out += fmt::format("tokengrid:billing_failures_total {}\n", gateway.billing_failures);
}

void append_leases(std::string& out, const ledger::LeaseFigures& leases) {
  append_type(out, "tokengrid:shared_ledger_up", "gauge", "Whether the shared ledger answers.");
  out += fmt::format("tokengrid:shared_ledger_up {}\n", leases.is_away ? 0 : 1);
  append_type(out, "tokengrid:lease_rounds_total", "counter", "Accounts settled or renewed.");
  out += fmt::format("tokengrid:lease_rounds_total {}\n", leases.rounds);
  append_type(out, "tokengrid:lease_failures_total", "counter",
              "Calls that the shared ledger did not answer or refused.");
  out += fmt::format("tokengrid:lease_failures_total {}\n", leases.failures);
  append_type(out, "tokengrid:lease_late_total", "counter",
              "Requests refused because no lease came in time.");
  out += fmt::format("tokengrid:lease_late_total {}\n", leases.late);
  auto each = [&](const char* metric, const char* type, const char* help, auto value) {
    append_type(out, metric, type, help);
    for (const auto& [ledger, sums] : leases.ledgers)
      out += fmt::format("{}{{ledger=\"{}\"}} {}\n", metric, ledger_name(ledger),
                         to_string(static_cast<u128>(value(sums))));
  };
  using Sums = ledger::LeaseSums;
  each("tokengrid:lease_accounts", "gauge", "Accounts that are leased or were of late.",
       [](const Sums& s) { return static_cast<u64>(s.accounts); });
  each("tokengrid:lease_leased", "gauge", "Held for this gateway; nano-ST or micro-credits.",
       [](const Sums& s) { return s.leased; });
  each("tokengrid:lease_free", "gauge", "Granted here, neither spent nor held.",
       [](const Sums& s) { return s.free; });
  each("tokengrid:lease_unsettled", "gauge", "Spent here and not yet in the shared ledger.",
       [](const Sums& s) { return s.unsettled; });
  each("tokengrid:lease_lost_total", "counter", "Spent of leases that ended, and not covered.",
       [](const Sums& s) { return s.lost; });
}

}  // namespace

void Histogram::observe_ns(i64 ns, u64 times) {
  observe(static_cast<f64>(ns) * 1e-9, times);
}

void Histogram::observe(f64 value, u64 times) {
  std::size_t bucket = 0;
  while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
  counts_[bucket] += times;
  count_ += times;
  sum_ += value * static_cast<f64>(times);
}

void Histogram::append(std::string& out, const std::string& name, const std::string& labels) const {
  u64 below = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], below);
  }
  out += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels, count_);
  out +=
      fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, sum_, name, labels, count_);
}

std::string_view ledger_name(u32 ledger) {
  if (ledger == ledger::ledgers::kStandard) return "standard";
  if (ledger == ledger::ledgers::kMoney) return "money";
  return ledger == ledger::ledgers::kBudget ? "budget" : "other";
}

std::string_view name(Operation operation) {
  return operation == Operation::kChat ? "chat" : "text_completion";
}

OperationMetrics::OperationMetrics()
    : input_tokens(kUsageBounds),
      output_tokens(kUsageBounds),
      time_to_first_token(kServerFirstBounds),
      time_per_output_token(kServerTokenBounds) {}

void ModelMetrics::record(const RequestRecord& request) {
  OperationMetrics& of = operations[static_cast<std::size_t>(request.operation)];
  std::string error = request.error_status == 0 ? "" : std::to_string(request.error_status);
  of.duration.try_emplace(error, kDurationBounds).first->second.observe_ns(request.duration_ns);
  if (request.error_status != 0) return;
  of.input_tokens.observe(static_cast<f64>(request.input_tokens));
  of.output_tokens.observe(static_cast<f64>(request.output_tokens));
  if (request.first_token_ns > 0) of.time_to_first_token.observe_ns(request.first_token_ns);
  if (request.per_output_token_ns > 0) {
    of.time_per_output_token.observe_ns(request.per_output_token_ns);
  }
}

TenantMetrics& GatewayMetrics::tenant(const std::string& id) {
  auto found = tenants.find(id);
  if (found != tenants.end()) return found->second;
  return tenants[tenants.size() < kTenantsMax ? id : std::string("other")];
}

ModelMetrics::ModelMetrics()
    : time_to_first_token(kFirstTokenBounds),
      inter_token_latency(kTokenBounds),
      time_per_output_token(kTokenBounds),
      e2e_latency(kRequestBounds),
      queue_wait(kFirstTokenBounds) {}

std::string metrics_text(const GatewayMetrics& gateway, std::span<const ModelSample> models,
                         const ledger::LeaseFigures* leases) {
  std::string out;
  append_loads(out, models);
  append_resting(out, models);
  append_tokens(out, models);
  append_endings(out, models);
  append_work(out, models);
  append_energy(out, models);
  append_generative(out, models);
  append_access(out, gateway, models);
  append_gateway(out, gateway);
  if (leases != nullptr) append_leases(out, *leases);
  return out;
}

}  // namespace tg::gateway
