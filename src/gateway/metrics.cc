#include "gateway/metrics.h"

#include <fmt/format.h>

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

}  // namespace

void Histogram::observe_ns(i64 ns) {
  f64 seconds = static_cast<f64>(ns) * 1e-9;
  std::size_t bucket = 0;
  while (bucket < bounds_.size() && seconds > bounds_[bucket]) ++bucket;
  ++counts_[bucket];
  ++count_;
  sum_ += seconds;
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

ModelMetrics::ModelMetrics()
    : time_to_first_token(kFirstTokenBounds),
      inter_token_latency(kTokenBounds),
      time_per_output_token(kTokenBounds),
      e2e_latency(kRequestBounds) {}

std::string metrics_text(const GatewayMetrics& gateway, std::span<const ModelSample> models) {
  std::string out;
  append_loads(out, models);
  append_tokens(out, models);
  append_endings(out, models);
  append_work(out, models);
  append_gateway(out, gateway);
  return out;
}

}  // namespace tg::gateway
