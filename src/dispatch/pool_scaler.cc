#include "dispatch/pool_scaler.h"

#include <algorithm>

#include "base/log.h"

namespace tg::dispatch {

namespace {

constexpr f64 kSeconds = 1e-9;
// A request's mean output is that of about so many latest ones.
constexpr f64 kRequestsRemembered = 50;
constexpr i64 kRequestsMax = 64;  // of a replica that says nothing of it

// Stands for replicas that are not there yet: as with suppliers that are down, requests wait.
class AbsentReplica final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest) override {
    return Error{Code::kUnavailable, "no replica has started"};
  }
  void cancel(u64) override {}
  fleet::SupplierLoad load() const override {
    fleet::SupplierLoad load;
    load.is_up = false;
    return load;
  }
};

bool says_something(const fleet::StepEstimate& step) {
  return step.ns_per_step + step.ns_per_token + step.ns_per_row > 0;
}

fleet::StepEstimate mean_of(const std::vector<fleet::StepEstimate>& steps) {
  fleet::StepEstimate mean;
  f64 part = 1 / static_cast<f64>(steps.size());
  for (const fleet::StepEstimate& step : steps) {
    mean.ns_per_step += part * step.ns_per_step;
    mean.ns_per_token += part * step.ns_per_token;
    mean.ns_per_row += part * step.ns_per_row;
  }
  return mean;
}

}  // namespace

std::string replica_name(u32 slot) {
  return "auto-" + std::to_string(slot + 1);
}

PoolScaler::PoolScaler(ScalerOptions options, Pool& pool, fleet::Launcher* launcher, Clock& clock)
    : options_(std::move(options)),
      pool_(pool),
      launcher_(launcher),
      clock_(clock),
      set_(options_.scale, options_.replicas, slots()) {
  TG_ASSERT(options_.tpot_target_ns > 0);
  slots_.resize(set_.replicas().size());
  PoolSupplier facts = options_.facts;
  facts.name = launcher_ == nullptr ? "to-come" : replica_name(0);
  options_.fixed.insert("to-come");
  i64 requests = facts.requests_max > 0 ? facts.requests_max : kRequestsMax;
  if (options_.requests_at_once > 0) requests = options_.requests_at_once;
  pace_ = pace_of(facts.step, requests, options_.tpot_target_ns);
  pool_.join({std::move(facts), std::make_shared<AbsentReplica>()});
}

i64 PoolScaler::slots() const {
  return launcher_ == nullptr ? 0 : options_.scale.replicas_max + options_.replicas.warm;
}

void PoolScaler::set_settings(const ScaleSettings& scale, const ReplicaSettings& replicas) {
  std::lock_guard lock(mutex_);
  options_.scale = scale;
  options_.replicas = replicas;
  set_.set_settings(scale, replicas, slots());
  slots_.resize(set_.replicas().size());
}

void PoolScaler::turn() {
  std::lock_guard lock(mutex_);
  i64 now_ns = clock_.monotonic_ns();
  orders_.clear();
  PoolStatus status = pool_.status();
  if (launcher_ != nullptr) take_events(now_ns);
  watch(status, now_ns);
  learn_pace(status);
  count_arrivals(status, now_ns);
  ScaleDecision decision = set_.step(backlog_of(status), now_ns, orders_);
  carry_out(now_ns);
  ScalingReport report = report_of(status, decision, now_ns);
  pool_.set_scaling(to_json(report), to_prometheus(report));
}

void PoolScaler::take_events(i64 now_ns) {
  for (fleet::LaunchEvent& event : launcher_->poll()) {
    const ReplicaSet::Replica& replica = set_.replicas()[event.slot];
    std::string name = replica_name(event.slot);
    if (event.kind == fleet::LaunchEvent::Kind::kUp) {
      slots_[event.slot] = {.supplier = std::move(event.supplier), .reached_ns = now_ns};
      log_info("autoscale", "{} is up after {:.2f} s", name,
               static_cast<f64>(now_ns - replica.started_ns) * kSeconds);
      has_started_ = true;
      set_.started(event.slot, now_ns, orders_);
      continue;
    }
    bool was_asked = replica.state == ReplicaState::kEnding;
    if (was_asked) log_info("autoscale", "{} has ended: {}", name, event.why);
    if (!was_asked) log_warn("autoscale", "{} has ended unasked: {}", name, event.why);
    if (slots_[event.slot].supplier != nullptr) pool_.leave(name);
    slots_[event.slot].supplier = nullptr;
    set_.ended(event.slot, now_ns, std::move(event.why));
  }
}

// Those that drain and have nothing left; those that run and cannot be reached.
void PoolScaler::watch(const PoolStatus& status, i64 now_ns) {
  for (u32 i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.supplier == nullptr) continue;
    if (slot.supplier->load().is_up) slot.reached_ns = now_ns;
    ReplicaState state = set_.replicas()[i].state;
    bool is_hung =
        now_ns - slot.reached_ns > options_.hung_ns_max && state != ReplicaState::kEnding;
    if (is_hung) {
      log_warn("autoscale", "{} cannot be reached and is killed", replica_name(i));
      launcher_->kill(i);
      slot.reached_ns = now_ns;
    }
    if (state != ReplicaState::kDraining) continue;
    for (const PoolCore::MemberStatus& member : status.members) {
      bool is_empty =
          member.health != Health::kUp && member.health != Health::kSuspect && member.open == 0;
      if (member.name == replica_name(i) && is_empty) set_.emptied(i);
    }
  }
}

bool PoolScaler::is_replica(const std::string& name) const {
  return launcher_ == nullptr ? !options_.fixed.contains(name) : name.starts_with("auto-");
}

void PoolScaler::learn_pace(const PoolStatus& status) {
  std::vector<fleet::StepEstimate> steps;
  i64 requests = 0;
  for (const PoolCore::MemberStatus& member : status.members) {
    bool is_up = member.health == Health::kUp || member.health == Health::kSuspect;
    if (!is_up || !is_replica(member.name) || !says_something(member.step)) continue;
    steps.push_back(member.step);
    requests = std::max(requests, member.running_max);
  }
  if (steps.empty()) return;
  if (options_.requests_at_once > 0) requests = options_.requests_at_once;
  pace_ = pace_of(mean_of(steps), std::max<i64>(1, requests), options_.tpot_target_ns);
}

void PoolScaler::count_arrivals(const PoolStatus& status, i64 now_ns) {
  const Arrivals& all = status.arrivals;
  f64 requests = static_cast<f64>(all.requests - seen_.requests);
  if (requests == 0) return;
  f64 prompts = all.prompt_tokens - seen_.prompt_tokens;
  f64 outputs = all.output_tokens - seen_.output_tokens;
  f64 part = seen_.requests == 0 ? 1 : std::min(1.0, requests / kRequestsRemembered);
  output_tokens_mean_ += part * (outputs / requests - output_tokens_mean_);
  set_.arrived(pace_.work(prompts, outputs), now_ns);
  seen_ = all;
}

f64 PoolScaler::backlog_of(const PoolStatus& status) const {
  return pace_.work(static_cast<f64>(status.waiting_tokens),
                    static_cast<f64>(status.waiting) * output_tokens_mean_);
}

void PoolScaler::carry_out(i64 now_ns) {
  // Starting may fail at once, which brings no further orders.
  for (const ReplicaOrder& order : orders_) {
    switch (order.kind) {
      case ReplicaOrder::Kind::kStart: launch(order.slot, now_ns); break;
      case ReplicaOrder::Kind::kUse: use(order.slot); break;
      case ReplicaOrder::Kind::kDrain:
        log_info("autoscale", "{} is drained", replica_name(order.slot));
        pool_.drain(replica_name(order.slot));
        break;
      case ReplicaOrder::Kind::kEnd: launcher_->end(order.slot); break;
    }
  }
}

void PoolScaler::launch(u32 slot, i64 now_ns) {
  std::string name = replica_name(slot);
  Status begun = launcher_->start(slot, name);
  if (begun.ok()) {
    log_info("autoscale", "{} starts as process {}", name, launcher_->describe(slot).process);
    return;
  }
  log_warn("autoscale", "{} does not start: {}", name, begun.error().message);
  set_.ended(slot, now_ns, begun.error().message);
}

void PoolScaler::use(u32 slot) {
  // It ended in the same turn.
  if (slots_[slot].supplier == nullptr) return;
  PoolSupplier facts = options_.facts;
  facts.name = replica_name(slot);
  pool_.join({std::move(facts), slots_[slot].supplier});
}

ScalingReport PoolScaler::report_of(const PoolStatus& status, const ScaleDecision& decision,
                                    i64 now_ns) const {
  ScalingReport r;
  r.pool = options_.pool;
  r.launches = launcher_ != nullptr;
  r.decision = decision;
  r.counts = set_.counts();
  r.pace = pace_;
  r.replicas_min = options_.scale.replicas_min;
  r.replicas_max = options_.scale.replicas_max;
  r.warm = options_.replicas.warm;
  r.cold_start_s = static_cast<f64>(set_.cold_start_ns()) * kSeconds;
  r.is_cold_start_measured = has_started_;
  r.requests_waiting = status.waiting;
  r.backlog = backlog_of(status);
  r.arrivals = status.arrivals.requests;
  r.failures = set_.failures();
  r.retry_s = std::max(0.0, static_cast<f64>(set_.retry_at_ns() - now_ns) * kSeconds);
  for (const PoolCore::MemberStatus& member : status.members) {
    bool is_up = member.health == Health::kUp || member.health == Health::kSuspect;
    if (launcher_ == nullptr && is_up && is_replica(member.name)) ++r.counts.ready;
  }
  for (u32 i = 0; i < slots_.size(); ++i) {
    const ReplicaSet::Replica& replica = set_.replicas()[i];
    if (replica.starts == 0) continue;
    fleet::LaunchedReplica launched = launcher_->describe(i);
    ScalingReport::Replica shown{.name = replica_name(i),
                                 .state = replica.state,
                                 .process = launched.process,
                                 .address = launched.address,
                                 .seconds = static_cast<f64>(now_ns - replica.since_ns) * kSeconds,
                                 .starts = replica.starts,
                                 .last_error = replica.last_error};
    for (const PoolCore::MemberStatus& member : status.members) {
      if (member.name == shown.name) shown.open = member.open;
    }
    r.replicas.push_back(std::move(shown));
  }
  return r;
}

}  // namespace tg::dispatch
