#include "dispatch/scaling_report.h"

#include <fmt/format.h>

#include "base/json_out.h"
#include "dispatch/metric_label.h"

namespace tg::dispatch {

namespace {

void write_replica(JsonWriter& json, const ScalingReport::Replica& replica) {
  json.begin_object().key("name").string(replica.name);
  json.key("state").string(replica_state_name(replica.state));
  json.key("seconds").real(replica.seconds);
  json.key("process");
  if (replica.process > 0)
    json.number(replica.process);
  else
    json.null();
  json.key("address").string(replica.address).key("open").number(replica.open);
  json.key("starts").number_u64(replica.starts);
  json.key("last_error").string(replica.last_error).end_object();
}

}  // namespace

std::string reason_of(const ScalingReport& r) {
  const ScaleDecision& d = r.decision;
  std::string out = fmt::format(
      "{:.3f} replica seconds of work arrive per second ({:.3f} over the long window, {:.3f} of "
      "late): {} for them",
      d.arriving_s, d.long_s, d.short_s, d.for_arrivals);
  if (r.requests_waiting > 0 || d.for_backlog > 0) {
    out += fmt::format(", {} for {} requests that wait ({:.3f} replica seconds)", d.for_backlog,
                       r.requests_waiting, r.backlog);
  }
  i64 sum = d.for_arrivals + d.for_backlog;
  if (d.desired > sum && d.is_panic)
    out += ", not fewer than were wanted before in this panic";
  else if (d.desired > sum && d.desired > r.replicas_min)
    out += ", one until it has been idle";
  else if (d.desired > sum)
    out += fmt::format(", at least {}", r.replicas_min);
  if (d.desired < sum) out += fmt::format(", at most {}", r.replicas_max);
  if (d.is_panic) out += "; panic: nothing is taken away";
  if (r.retry_s > 0) out += fmt::format("; the next start is tried in {:.1f} s", r.retry_s);
  return out;
}

std::string to_json(const ScalingReport& r) {
  const ScaleDecision& d = r.decision;
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("autoscale").key("pool").string(r.pool);
  json.key("desired_replicas").number(d.desired).key("ready_replicas").number(r.counts.ready);
  json.key("starting_replicas").number(r.counts.starting);
  json.key("warm_replicas").number(r.counts.warm);
  json.key("draining_replicas").number(r.counts.draining);
  json.key("reason").string(reason_of(r)).key("launches").boolean(r.launches);
  json.key("panic").boolean(d.is_panic).key("work_per_second").real(d.arriving_s);
  json.key("for_arrivals").number(d.for_arrivals).key("for_backlog").number(d.for_backlog);
  json.key("requests").number_u64(r.arrivals);
  json.key("requests_waiting").number(r.requests_waiting).key("backlog").real(r.backlog);
  json.key("replicas_min").number(r.replicas_min).key("replicas_max").number(r.replicas_max);
  json.key("warm").number(r.warm).key("cold_start_seconds").real(r.cold_start_s);
  json.key("cold_start_is_measured").boolean(r.is_cold_start_measured);
  json.key("replica").begin_object().key("requests").number(r.pace.requests);
  json.key("seconds_per_prompt_token").real(r.pace.prompt_s);
  json.key("seconds_per_output_token").real(r.pace.output_s).end_object();
  json.key("failures").number_u64(r.failures).key("retry_seconds").real(r.retry_s);
  json.key("replicas").begin_array();
  for (const ScalingReport::Replica& replica : r.replicas) write_replica(json, replica);
  json.end_array().end_object();
  return out;
}

std::string to_prometheus(const ScalingReport& r) {
  std::string label = label_of(r.pool);
  std::string out;
  auto add = [&](const char* name, const char* type, auto value) {
    out += fmt::format(
        "# TYPE tokengrid:autoscale_{0} {1}\ntokengrid:autoscale_{0}{{pool=\"{2}\"}} {3}\n", name,
        type, label, value);
  };
  add("desired_replicas", "gauge", r.decision.desired);
  add("ready_replicas", "gauge", r.counts.ready);
  add("starting_replicas", "gauge", r.counts.starting);
  add("warm_replicas", "gauge", r.counts.warm);
  add("draining_replicas", "gauge", r.counts.draining);
  add("panic", "gauge", r.decision.is_panic ? 1 : 0);
  add("work_per_second", "gauge", r.decision.arriving_s);
  add("backlog_seconds", "gauge", r.backlog);
  add("cold_start_seconds", "gauge", r.cold_start_s);
  add("failures_total", "counter", r.failures);
  return out;
}

}  // namespace tg::dispatch
