// Metrics as OTLP JSON: the names and attributes of OpenTelemetry's conventions for generative AI,
// and ours. Integers of 64 bits are strings there, as protobuf's JSON mapping has it.
#include <fmt/format.h>

#include "base/json_out.h"
#include "gateway/metrics.h"
#include "ledger/lease_tender.h"

namespace tg::gateway {
namespace {

struct Attribute {
  std::string_view key;
  std::string_view value;
};
using Attributes = std::vector<Attribute>;

class OtlpWriter {
 public:
  OtlpWriter(std::string& out, const OtlpResource& resource) : json_(out), resource_(resource) {}

  void begin() {
    json_.begin_object().key("resourceMetrics").begin_array().begin_object();
    json_.key("resource").begin_object();
    write_attributes(
        {{"service.name", resource_.service_name}, {"service.instance.id", resource_.instance}});
    json_.end_object().key("scopeMetrics").begin_array().begin_object();
    json_.key("scope").begin_object().key("name").string("tokengrid.gateway").end_object();
    json_.key("metrics").begin_array();
  }
  void end() { json_.end_array().end_object().end_array().end_object().end_array().end_object(); }

  void begin_metric(std::string_view name, std::string_view unit, std::string_view kind) {
    json_.begin_object().key("name").string(name).key("unit").string(unit);
    json_.key(kind).begin_object();
    constexpr i64 kCumulative = 2;
    if (kind != "gauge") json_.key("aggregationTemporality").number(kCumulative);
    if (kind == "sum") json_.key("isMonotonic").boolean(true);
    json_.key("dataPoints").begin_array();
  }
  void end_metric() { json_.end_array().end_object().end_object(); }

  void number(const Attributes& attributes, u64 value) {
    begin_point(attributes);
    json_.key("asInt").string(std::to_string(value)).end_object();
  }
  void histogram(const Attributes& attributes, const Histogram& histogram) {
    begin_point(attributes);
    json_.key("count").string(std::to_string(histogram.count()));
    json_.key("sum").real(histogram.sum()).key("bucketCounts").begin_array();
    for (u64 count : histogram.counts()) json_.string(std::to_string(count));
    json_.end_array().key("explicitBounds").begin_array();
    for (f64 bound : histogram.bounds()) json_.real(bound);
    json_.end_array().end_object();
  }

 private:
  void write_attributes(const Attributes& attributes) {
    json_.key("attributes").begin_array();
    for (const Attribute& attribute : attributes) {
      json_.begin_object().key("key").string(attribute.key).key("value");
      json_.begin_object().key("stringValue").string(attribute.value).end_object().end_object();
    }
    json_.end_array();
  }
  void begin_point(const Attributes& attributes) {
    json_.begin_object();
    write_attributes(attributes);
    json_.key("startTimeUnixNano").string(std::to_string(resource_.started.ns));
    json_.key("timeUnixNano").string(std::to_string(resource_.now.ns));
  }

  JsonWriter json_;
  const OtlpResource& resource_;
};

Attributes operation_attributes(const ModelSample& sample, std::size_t operation) {
  return {{"gen_ai.operation.name", name(static_cast<Operation>(operation))},
          {"gen_ai.provider.name", "tokengrid"},
          {"gen_ai.request.model", sample.model},
          {"gen_ai.response.model", sample.model}};
}

template <typename F>
void each_operation(std::span<const ModelSample> models, F write) {
  for (const ModelSample& sample : models) {
    for (std::size_t i = 0; i < kOperations; ++i) {
      write(sample.metrics->operations[i], operation_attributes(sample, i));
    }
  }
}

void write_generative(OtlpWriter& out, std::span<const ModelSample> models) {
  out.begin_metric("gen_ai.client.token.usage", "{token}", "histogram");
  each_operation(models, [&](const OperationMetrics& m, Attributes attributes) {
    attributes.push_back({"gen_ai.token.type", "input"});
    out.histogram(attributes, m.input_tokens);
    attributes.back().value = "output";
    out.histogram(attributes, m.output_tokens);
  });
  out.end_metric();
  out.begin_metric("gen_ai.server.request.duration", "s", "histogram");
  each_operation(models, [&](const OperationMetrics& m, const Attributes& attributes) {
    for (const auto& [error, histogram] : m.duration) {
      Attributes all = attributes;
      if (!error.empty()) all.push_back({"error.type", error});
      out.histogram(all, histogram);
    }
  });
  out.end_metric();
  out.begin_metric("gen_ai.server.time_to_first_token", "s", "histogram");
  each_operation(models, [&](const OperationMetrics& m, const Attributes& attributes) {
    out.histogram(attributes, m.time_to_first_token);
  });
  out.end_metric();
  out.begin_metric("gen_ai.server.time_per_output_token", "s", "histogram");
  each_operation(models, [&](const OperationMetrics& m, const Attributes& attributes) {
    out.histogram(attributes, m.time_per_output_token);
  });
  out.end_metric();
}

void write_ours(OtlpWriter& out, const GatewayMetrics& gateway,
                std::span<const ModelSample> models) {
  out.begin_metric("tokengrid.nominal_work", "n{ST}", "sum");
  for (const ModelSample& s : models) {
    out.number({{"gen_ai.response.model", s.model}}, s.metrics->nominal_nst);
  }
  out.end_metric();
  out.begin_metric("tokengrid.queue.waiting", "{request}", "gauge");
  for (const ModelSample& s : models) {
    out.number({{"gen_ai.response.model", s.model}}, static_cast<u64>(s.queue_waiting));
  }
  out.end_metric();
  out.begin_metric("tokengrid.organisation.requests", "{request}", "sum");
  for (const auto& [id, tenant] : gateway.tenants) {
    out.number({{"tokengrid.organisation.id", id}}, tenant.requests);
  }
  out.end_metric();
  out.begin_metric("tokengrid.organisation.nominal_work", "n{ST}", "sum");
  for (const auto& [id, tenant] : gateway.tenants) {
    out.number({{"tokengrid.organisation.id", id}}, tenant.nominal_nst);
  }
  out.end_metric();
}

// OTLP's integers have 64 bits.
u64 clamped(u128 value) {
  return value > INT64_MAX ? INT64_MAX : static_cast<u64>(value);
}

void write_leases(OtlpWriter& out, const ledger::LeaseFigures& leases) {
  auto one = [&](std::string_view name, std::string_view unit, std::string_view kind, u64 value) {
    out.begin_metric(name, unit, kind);
    out.number({}, value);
    out.end_metric();
  };
  one("tokengrid.shared_ledger.up", "1", "gauge", leases.is_away ? 0 : 1);
  one("tokengrid.lease.rounds", "{round}", "sum", leases.rounds);
  one("tokengrid.lease.failures", "{call}", "sum", leases.failures);
  one("tokengrid.lease.late", "{request}", "sum", leases.late);
  auto each = [&](std::string_view name, std::string_view kind, u128 ledger::LeaseSums::*value) {
    out.begin_metric(name, "1", kind);
    for (const auto& [ledger, sums] : leases.ledgers)
      out.number({{"tokengrid.ledger", ledger_name(ledger)}}, clamped(sums.*value));
    out.end_metric();
  };
  out.begin_metric("tokengrid.lease.accounts", "{account}", "gauge");
  for (const auto& [ledger, sums] : leases.ledgers)
    out.number({{"tokengrid.ledger", ledger_name(ledger)}}, static_cast<u64>(sums.accounts));
  out.end_metric();
  each("tokengrid.lease.leased", "gauge", &ledger::LeaseSums::leased);
  each("tokengrid.lease.free", "gauge", &ledger::LeaseSums::free);
  each("tokengrid.lease.unsettled", "gauge", &ledger::LeaseSums::unsettled);
  each("tokengrid.lease.lost", "sum", &ledger::LeaseSums::lost);
}

}  // namespace

std::string otlp_json(const OtlpResource& resource, const GatewayMetrics& gateway,
                      std::span<const ModelSample> models, const ledger::LeaseFigures* leases) {
  std::string text;
  OtlpWriter out(text, resource);
  out.begin();
  write_generative(out, models);
  write_ours(out, gateway, models);
  if (leases != nullptr) write_leases(out, *leases);
  out.end();
  return text;
}

}  // namespace tg::gateway
