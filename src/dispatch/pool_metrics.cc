#include "dispatch/pool_metrics.h"

#include <fmt/format.h>

#include "dispatch/metric_label.h"

namespace tg::dispatch {
namespace {

void add_total(std::string& out, const char* name, u64 value) {
  out += fmt::format("# TYPE tokengrid:pool_{0}_total counter\ntokengrid:pool_{0}_total {1}\n",
                     name, value);
}

template <typename Value>
void add_each(std::string& out, const PoolStatus& status, const char* name, const char* type,
              Value value) {
  out += fmt::format("# TYPE tokengrid:supplier_{} {}\n", name, type);
  for (const PoolCore::MemberStatus& member : status.members) {
    out += fmt::format("tokengrid:supplier_{}{{supplier=\"{}\",zone=\"{}\"}} {}\n", name,
                       label_of(member.name), label_of(member.zone), value(member));
  }
}

}  // namespace

std::string pool_metrics(const PoolStatus& status) {
  using Member = PoolCore::MemberStatus;
  const PoolCounters& c = status.counters;
  std::string out;
  add_total(out, "requests", c.requests);
  add_total(out, "retries", c.retries);
  add_total(out, "continuations", c.continuations);
  add_total(out, "hedges", c.hedges);
  add_total(out, "hedges_won", c.hedges_won);
  add_total(out, "held", c.held);
  add_total(out, "refused", c.refused);
  add_total(out, "failed", c.failed);
  add_total(out, "disputes", c.disputes);
  out += fmt::format("# TYPE tokengrid:pool_open gauge\ntokengrid:pool_open {}\n", status.open);
  out += fmt::format("# TYPE tokengrid:pool_waiting gauge\ntokengrid:pool_waiting {}\n",
                     status.waiting);
  // Share of first tokens that came within their p90 forecast: 0.9 if forecasts are calibrated.
  add_total(out, "first_tokens", static_cast<u64>(status.first_tokens));
  out += fmt::format(
      "# TYPE tokengrid:pool_first_token_coverage gauge\ntokengrid:pool_first_token_coverage {}\n",
      status.coverage);
  add_each(out, status, "up", "gauge", [](const Member& m) {
    return m.health == Health::kUp || m.health == Health::kSuspect ? 1 : 0;
  });
  add_each(out, status, "suspect", "gauge",
           [](const Member& m) { return m.health == Health::kSuspect ? 1 : 0; });
  add_each(out, status, "open", "gauge", [](const Member& m) { return m.open; });
  add_each(out, status, "attempts_total", "counter", [](const Member& m) { return m.attempts; });
  add_each(out, status, "failures_total", "counter", [](const Member& m) { return m.failures; });
  add_each(out, status, "disputes_total", "counter", [](const Member& m) { return m.disputes; });
  add_each(out, status, "output_tokens_total", "counter", [](const Member& m) { return m.tokens; });
  // How many times slower than it says, by our measurements.
  add_each(out, status, "first_token_correction", "gauge",
           [](const Member& m) { return m.first_correction; });
  add_each(out, status, "rate_correction", "gauge",
           [](const Member& m) { return m.rate_correction; });
  return out;
}

}  // namespace tg::dispatch
