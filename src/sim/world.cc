#include "sim/world.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/assert.h"
#include "sim/draw.h"

namespace tg::sim {

namespace {

constexpr i64 kReportsMissed = 3;    // then a supplier is down
constexpr i64 kDecisionSample = 16;  // every so many decisions are timed

// Of the simulator itself, to report what decisions cost; nothing simulated depends on it.
i64 processor_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

dispatch::ReplicaSettings replica_settings(const Elasticity& e) {
  // No start fails here, however long it takes.
  return {.warm = e.warm, .starting_max = 1'000'000, .start_ns_max = 2 * e.cold_start_ns};
}

}  // namespace

World::World(const Scenario& scenario, const Trace& trace)
    : scenario_(scenario),
      trace_(trace),
      router_([&] {
        dispatch::RouterOptions options = scenario.router;
        options.block_tokens = trace.block_tokens;
        options.seed ^= scenario.seed;
        return options;
      }()),
      replicas_(scenario.elasticity.scale, replica_settings(scenario.elasticity),
                static_cast<i64>(scenario.suppliers.size())) {
  SeededRandom random(scenario.seed * 0x9e3779b97f4a7c15ull + 1);
  for (const SupplierSpec& spec : scenario.suppliers) {
    Supplier s;
    s.device = make_device(scenario.engine, spec.device, random.next());
    s.result.name = spec.name;
    i64 blocks =
        spec.device.block_tokens > 0 ? spec.device.keys_total / spec.device.block_tokens : 1;
    u32 index = router_.add(facts_of(spec, random), blocks);
    suppliers_.push_back(std::move(s));
    post(scenario.report_interval_ns, Kind::kReport, index, 0);
  }
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    TG_ASSERT(scenario.faults[i].supplier < suppliers_.size());
    post(scenario.faults[i].from_ns, Kind::kFaultBegin, static_cast<u32>(i), 0);
    post(scenario.faults[i].until_ns, Kind::kFaultEnd, static_cast<u32>(i), 0);
  }
  if (scenario.elasticity.is_on) begin_elastic();
  if (scenario.has_money()) begin_money();
  live_.resize(trace.requests.size());
  results_.resize(trace.requests.size());
}

World::~World() = default;

dispatch::SupplierView World::facts_of(const SupplierSpec& spec, SeededRandom& random) const {
  const DeviceModel& d = spec.device;
  dispatch::SupplierView v;
  // What the gateway believes of its speed: a calibration's error, and what it boasts of.
  f64 off = std::exp(scenario_.estimate_error * normal(random)) / spec.boast;
  v.step = d.step;
  v.step.ns_per_step *= off;
  v.step.ns_per_token *= off;
  v.step.ns_per_row *= off;
  v.step.ns_per_key *= off;
  v.step.ns_per_pair *= off;
  v.zone = spec.zone;
  v.rtt_ns = spec.rtt_ns;
  v.step_tokens_max = d.step_tokens_max;
  v.step_target_ns = d.step_target_ns;
  v.step_longest_ns = d.step_longest_ns;
  v.running_max = d.running_max;
  v.keys_total = d.keys_total;
  v.price = d.price;
  v.power = {.watts = d.watts_busy * spec.pue,
             .grams_per_joule = spec.grams_per_joule,
             .price_per_joule = spec.price_per_joule,
             .is_measured = false};
  return v;
}

void World::post(i64 at_ns, Kind kind, u32 supplier, u64 id, i64 value) {
  events_.push_back({at_ns, ++serial_, kind, supplier, id, value});
  std::push_heap(events_.begin(), events_.end());
}

RunResult World::run() {
  u32 count = static_cast<u32>(trace_.requests.size());
  while (next_ < count || open_ > 0) {
    bool is_arrival =
        next_ < count && (events_.empty() || trace_.requests[next_].at_ns <= events_.front().at_ns);
    if (is_arrival) {
      now_ns_ = trace_.requests[next_].at_ns;
      arrive(next_++);
      continue;
    }
    Event e = events_.front();
    std::pop_heap(events_.begin(), events_.end());
    events_.pop_back();
    now_ns_ = e.at_ns;
    handle(e);
  }
  return collect();
}

void World::handle(const Event& e) {
  switch (e.kind) {
    case Kind::kHeld: return admit(request_of(e.id));
    case Kind::kSubmit: return submit_at_device(e);
    case Kind::kCancel: suppliers_[e.supplier].device->cancel(e.id); return note_energy(e.supplier);
    case Kind::kStep: return end_step(e);
    case Kind::kFirst: return first_at_gateway(e);
    case Kind::kEnd: return end_at_gateway(e);
    case Kind::kLost:
      if (attempt_of(e.id) != live_[request_of(e.id)].attempt) return;
      router_.set_health(e.supplier, dispatch::Health::kDown, now_ns_);
      lose(request_of(e.id), e.value, dispatch::Outcome::kBroken);
      return pump();
    case Kind::kReport: return make_report(e);
    case Kind::kReported: return take_report(e);
    case Kind::kFaultBegin: return begin_fault(scenario_.faults[e.supplier]);
    case Kind::kFaultEnd: return end_fault(scenario_.faults[e.supplier]);
    case Kind::kScale: return scale();
    case Kind::kStarted: return replica_started(e.supplier);
    case Kind::kReady: return make_ready(e.supplier);
    case Kind::kFund: return fund(e);
    case Kind::kMoney: return tell_market();
  }
}

void World::arrive(u32 request) {
  const TraceRequest& r = trace_.requests[request];
  RequestResult& result = results_[request];
  result.arrived_ns = now_ns_;
  result.prompt_tokens = r.prompt_tokens;
  result.service = scenario_.classes.of(request, scenario_.seed);
  if (!has_funds(request)) {
    result.fate = Fate::kUnfunded;
    return;
  }
  ++open_;
  live_[request].is_open = true;
  i64 latency_ns = money_ ? scenario_.money.latency_ns : 0;
  if (latency_ns == 0) return admit(request);
  post(now_ns_ + latency_ns, Kind::kHeld, 0, request);
}

// It may wait for a supplier now.
void World::admit(u32 request) {
  const TraceRequest& r = trace_.requests[request];
  std::span<const u64> blocks = trace_.blocks_of(r);
  dispatch::Ask ask{.id = request,
                    .tenant = r.tenant,
                    .route = {.prompt_tokens = r.prompt_tokens,
                              .output_tokens = scenario_.knows_lengths ? r.output_tokens : 0,
                              .service = results_[request].service,
                              .session = r.tenant,
                              .waited_ns = now_ns_ - results_[request].arrived_ns}};
  ask.blocks.assign(blocks.begin(), blocks.end());
  if (router_.submit(std::move(ask), now_ns_) != dispatch::WaitingLine::Admission::kWaits) {
    return refuse(request);
  }
  if (scenario_.elasticity.is_on) replicas_.arrived(1, now_ns_);
  // One more in a long line changes nothing for those at its head.
  if (router_.would_look_at_new()) pump();
}

void World::pump() {
  sent_.clear();
  refused_.clear();
  bool is_timed = serial_ % kDecisionSample == 0;
  u64 decisions = router_.decisions();
  i64 begin_ns = is_timed ? processor_ns() : 0;
  router_.pump(now_ns_, sent_, refused_);
  if (is_timed && router_.decisions() > decisions) {
    decision_ns_ += (processor_ns() - begin_ns) * kDecisionSample;
  }
  for (const dispatch::Sent& s : sent_) {
    u32 request = static_cast<u32>(s.id);
    Live& live = live_[request];
    live.supplier = s.supplier;
    live.sent = s.attempt;
    ++live.attempt;
    RequestResult& result = results_[request];
    result.supplier = s.supplier;
    result.sent_ns = now_ns_;
    result.forecast_ns = s.choice.forecast.ttft_ns;
    result.open = static_cast<i32>(router_.in_flight().open(s.supplier) - 1);
    ++result.attempts;
    post(now_ns_ + scenario_.suppliers[s.supplier].rtt_ns / 2, Kind::kSubmit, s.supplier,
         id_of(request, live.attempt));
  }
  for (const dispatch::Refused& r : refused_) refuse(static_cast<u32>(r.id));
}

void World::refuse(u32 request) {
  results_[request].fate = Fate::kRefused;
  live_[request].is_open = false;
  --open_;
  close_money(request, 0);
}

void World::submit_at_device(const Event& e) {
  Supplier& s = suppliers_[e.supplier];
  if (s.is_cut) return;
  if (s.is_down) {
    post(now_ns_ + scenario_.suppliers[e.supplier].rtt_ns / 2, Kind::kLost, e.supplier, e.id);
    return;
  }
  u32 request = request_of(e.id);
  const TraceRequest& r = trace_.requests[request];
  if (attempt_of(e.id) != live_[request].attempt) return;
  i64 delivered = live_[request].delivered;
  i64 left = std::max<i64>(1, r.output_tokens - delivered);
  i64 funded = funded_tokens(request, left);
  bool is_taken = s.device->submit({.id = e.id,
                                    .prompt_tokens = r.prompt_tokens + delivered,
                                    .output_tokens = left,
                                    .blocks = trace_.blocks_of(r),
                                    .funded_tokens = funded,
                                    .service = results_[request].service});
  if (!is_taken) {
    router_.ended(live_[request].sent, 0, dispatch::Outcome::kUndecided, now_ns_);
    router_.close(request, 0, now_ns_);
    return refuse(request);
  }
  if (live_[request].edge.is_final) s.device->fund(e.id, funded, true);
  if (!s.device->is_stepping()) step_of(e.supplier);
}

void World::step_of(u32 supplier) {
  Supplier& s = suppliers_[supplier];
  i64 wall_ns = s.device->begin_step(now_ns_);
  if (wall_ns > 0) post(now_ns_ + wall_ns, Kind::kStep, supplier, s.epoch);
}

void World::end_step(const Event& e) {
  Supplier& s = suppliers_[e.supplier];
  if (e.id != s.epoch) return;
  firsts_.clear();
  finished_.clear();
  s.device->end_step(firsts_, finished_);
  note_energy(e.supplier);
  if (!s.is_cut) {
    i64 heard_ns = now_ns_ + scenario_.suppliers[e.supplier].rtt_ns / 2;
    for (u64 id : firsts_) post(heard_ns, Kind::kFirst, e.supplier, id);
    for (const DeviceFinish& f : finished_) {
      Live& live = live_[request_of(f.id)];
      if (attempt_of(f.id) == live.attempt) live.finished = f.output_tokens;
      post(heard_ns, Kind::kEnd, e.supplier, f.id, f.cached_tokens);
    }
  }
  step_of(e.supplier);
}

void World::note_energy(u32 supplier) {
  drawn_.clear();
  suppliers_[supplier].device->take_drawn(drawn_);
  for (const Drawn& d : drawn_)
    results_[request_of(d.id)].joules += d.joules * scenario_.suppliers[supplier].pue;
}

void World::first_at_gateway(const Event& e) {
  u32 request = request_of(e.id);
  if (attempt_of(e.id) != live_[request].attempt) return;
  router_.first_token(live_[request].sent, now_ns_);
  RequestResult& result = results_[request];
  if (result.first_ns == 0) result.first_ns = now_ns_;
  if (!std::exchange(live_[request].is_streaming, true)) streaming_.push_back(request);
  if (router_.waiting() > 0) pump();
}

void World::end_at_gateway(const Event& e) {
  u32 request = request_of(e.id);
  Live& live = live_[request];
  if (attempt_of(e.id) != live.attempt || !live.is_open) return;
  router_.ended(live.sent, live.finished, dispatch::Outcome::kServed, now_ns_);
  if (money_) money_->earned(request, e.supplier, live.finished);
  live.delivered += live.finished;
  SupplierResult& supplier = suppliers_[e.supplier].result;
  ++supplier.requests;
  supplier.output_tokens += live.delivered;
  finish(request, e.value);
  if (scenario_.suppliers[e.supplier].overcount > 1) {
    router_.disputed(e.supplier, "claims more tokens than came", now_ns_);
  }
  if (router_.waiting() > 0) pump();
}

// What was delivered is all that comes.
void World::finish(u32 request, i64 cached) {
  Live& live = live_[request];
  const TraceRequest& r = trace_.requests[request];
  router_.close(request, live.delivered, now_ns_);
  RequestResult& result = results_[request];
  result.done_ns = now_ns_;
  result.output_tokens = static_cast<i32>(live.delivered);
  result.fate = live.delivered < r.output_tokens ? Fate::kCut : Fate::kDone;
  live.is_open = false;
  --open_;
  cached = std::min<i64>(cached, r.prompt_tokens);
  close_money(request, cached);
  const dispatch::TokenPrices& price = scenario_.suppliers[live.supplier].device.price;
  price_ += static_cast<f64>(r.prompt_tokens - cached) * price.input +
            static_cast<f64>(cached) * price.cached +
            static_cast<f64>(live.delivered) * price.output;
  // Useful work is what the request is for the standard with nothing cached: a cache's gain is the
  // seller's.
  st_ += standard_.st(r.prompt_tokens, 0, live.delivered);
}

void World::lose(u32 request, i64 produced, dispatch::Outcome outcome) {
  Live& live = live_[request];
  if (!live.is_open) return;
  i64 left = trace_.requests[request].output_tokens - live.delivered;
  produced = std::clamp<i64>(produced, 0, left - 1);
  if (produced > 0) results_[request].was_interrupted = true;
  if (money_) money_->earned(request, live.supplier, produced);
  live.delivered += produced;
  ++live.attempt;  // what the old one still says is not heard
  router_.ended(live.sent, produced, outcome, now_ns_);
  // All that is paid for, for good, has come.
  if (live.edge.is_final && live.delivered >= live.edge.tokens) return finish(request, 0);
  router_.retry(request, produced, {}, now_ns_);
}

void World::make_report(const Event& e) {
  Supplier& s = suppliers_[e.supplier];
  if (next_ < trace_.requests.size() || open_ > 0) {
    post(now_ns_ + scenario_.report_interval_ns, Kind::kReport, e.supplier, 0);
  }
  if (s.is_off) return;
  if (!s.is_down && !s.is_cut) {
    bool lies = scenario_.suppliers[e.supplier].boast > 1;
    post(now_ns_ + scenario_.suppliers[e.supplier].rtt_ns / 2, Kind::kReported, e.supplier,
         static_cast<u64>(lies ? 0 : s.device->waiting()), lies ? 0 : s.device->running());
    return;
  }
  bool is_missed = now_ns_ - s.heard_ns > kReportsMissed * scenario_.report_interval_ns;
  if (!is_missed || router_.standing(e.supplier).stated() == dispatch::Health::kDown) return;
  router_.set_health(e.supplier, dispatch::Health::kDown, now_ns_);
  for (u32 r = 0; r < live_.size(); ++r) {
    if (!live_[r].is_open || live_[r].supplier != e.supplier) continue;
    // The gateway has what it has received: of a stream that was cut, what the device had then.
    i64 produced = results_[r].first_ns > 0 ? s.device->produced(id_of(r, live_[r].attempt)) : 0;
    lose(r, produced, dispatch::Outcome::kBroken);
  }
  pump();
}

void World::take_report(const Event& e) {
  Supplier& s = suppliers_[e.supplier];
  s.heard_ns = now_ns_;
  router_.reported(e.supplier,
                   {.made_ns = now_ns_, .running = e.value, .waiting = static_cast<i64>(e.id)},
                   now_ns_);
  if (router_.standing(e.supplier).stated() == dispatch::Health::kDown && !s.is_down) {
    router_.set_health(e.supplier, dispatch::Health::kUp, now_ns_);
  }
  if (router_.waiting() > 0) pump();
}

void World::begin_fault(const Fault& fault) {
  Supplier& s = suppliers_[fault.supplier];
  if (fault.kind == FaultKind::kSlow) return s.device->set_slowness(fault.factor);
  if (fault.kind == FaultKind::kPartition) {
    s.is_cut = true;
    return;
  }
  s.is_down = true;
  ++s.epoch;
  for (const auto& [id, produced] : s.device->crash()) {
    post(now_ns_ + scenario_.suppliers[fault.supplier].rtt_ns / 2, Kind::kLost, fault.supplier, id,
         produced);
  }
  note_energy(fault.supplier);
}

void World::end_fault(const Fault& fault) {
  Supplier& s = suppliers_[fault.supplier];
  if (fault.kind == FaultKind::kSlow) return s.device->set_slowness(1);
  if (fault.kind == FaultKind::kCrash) {
    s.is_down = false;
    router_.restarted(fault.supplier);
    return;
  }
  s.is_cut = false;
  // What was given to others meanwhile is cancelled; a short cut that nobody noticed loses events
  // only, so the gateway asks again for what it did not hear.
  for (u32 r = 0; r < live_.size(); ++r) {
    if (live_[r].supplier != fault.supplier || live_[r].attempt == 0) continue;
    s.device->cancel(id_of(r, live_[r].attempt));
    if (live_[r].is_open) lose(r, 0, dispatch::Outcome::kUndecided);
  }
  note_energy(fault.supplier);
  pump();
}

}  // namespace tg::sim
