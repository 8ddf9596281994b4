// What a collector is sent of leases: every figure of /metrics, under names of OpenTelemetry's
// form.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/metrics.h"
#include "ledger/lease_tender.h"
#include "ledger/types.h"

namespace tg::gateway {
namespace {

using nlohmann::json;

std::map<std::string, json> metrics_of(const ledger::LeaseFigures* leases) {
  OtlpResource resource{.service_name = "tokengrid",
                        .instance = "gw-1",
                        .started = Timestamp{1'000},
                        .now = Timestamp{2'000}};
  json whole = json::parse(otlp_json(resource, GatewayMetrics(), {}, leases), nullptr, false);
  EXPECT_FALSE(whole.is_discarded());
  std::map<std::string, json> out;
  for (const json& metric : whole["resourceMetrics"][0]["scopeMetrics"][0]["metrics"])
    out[metric["name"]] = metric;
  return out;
}

// Of the point that has this ledger, or the only one.
std::string value_of(const json& metric, const char* kind, const std::string& ledger = "") {
  for (const json& point : metric.at(kind).at("dataPoints")) {
    if (point["startTimeUnixNano"] != "1000" || point["timeUnixNano"] != "2000") continue;
    if (ledger.empty()) return point["asInt"];
    const json& attribute = point.at("attributes").at(0);
    if (attribute["key"] == "tokengrid.ledger" && attribute["value"]["stringValue"] == ledger)
      return point["asInt"];
  }
  return "none";
}

TEST(MetricsOtlp, LeasesAreThere) {
  ledger::LeaseFigures leases{.is_away = true, .rounds = 12, .failures = 3, .late = 2};
  leases.ledgers[ledger::ledgers::kStandard] = {
      .accounts = 4, .leased = 100, .free = 60, .unsettled = 40, .lost = 1};
  leases.ledgers[ledger::ledgers::kBudget] = {.accounts = 1, .leased = ~u128{0}};
  std::map<std::string, json> metrics = metrics_of(&leases);
  EXPECT_EQ(value_of(metrics.at("tokengrid.shared_ledger.up"), "gauge"), "0");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.rounds"), "sum"), "12");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.failures"), "sum"), "3");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.late"), "sum"), "2");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.accounts"), "gauge", "standard"), "4");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.leased"), "gauge", "standard"), "100");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.free"), "gauge", "standard"), "60");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.unsettled"), "gauge", "standard"), "40");
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.lost"), "sum", "standard"), "1");
  EXPECT_EQ(metrics.at("tokengrid.lease.lost")["sum"]["isMonotonic"], true);
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.accounts"), "gauge", "budget"), "1");
  // What passes OTLP's 64 bits is the most that they hold.
  EXPECT_EQ(value_of(metrics.at("tokengrid.lease.leased"), "gauge", "budget"),
            "9223372036854775807");
  leases.is_away = false;
  EXPECT_EQ(value_of(metrics_of(&leases).at("tokengrid.shared_ledger.up"), "gauge"), "1");
}

TEST(MetricsOtlp, WithoutLeasesNothingIsSaidOfThem) {
  for (const auto& [name, metric] : metrics_of(nullptr))
    EXPECT_EQ(name.find("lease"), std::string::npos) << name;
}

}  // namespace
}  // namespace tg::gateway
