// From a finished run to figures.
#include <algorithm>
#include <cmath>

#include "sim/world.h"

namespace tg::sim {

namespace {

constexpr f64 kNs = 1e-9;
constexpr f64 kLateSeconds = 2;

f64 mean(const std::vector<f64>& values) {
  f64 sum = 0;
  for (f64 v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<f64>(values.size());
}

}  // namespace

f64 quantile(std::vector<f64> values, f64 q) {
  if (values.empty()) return 0;
  f64 rank = std::ceil(q * static_cast<f64>(values.size())) - 1;
  std::size_t at = static_cast<std::size_t>(std::max(0.0, rank));
  std::nth_element(values.begin(), values.begin() + static_cast<i64>(at), values.end());
  return values[at];
}

void MoneyResult::add(const MoneyResult& more) {
  is_on |= more.is_on;
  for (i64 MoneyResult::*count : {&MoneyResult::tenants, &MoneyResult::requests,
                                  &MoneyResult::refused, &MoneyResult::cut, &MoneyResult::slices}) {
    this->*count += more.*count;
  }
  transfers += more.transfers;
  for (u128 MoneyResult::*amount :
       {&MoneyResult::held, &MoneyResult::charged, &MoneyResult::released, &MoneyResult::paid,
        &MoneyResult::fees, &MoneyResult::unpaid, &MoneyResult::left}) {
    this->*amount += more.*amount;
  }
}

// What became of the requests, and how late their tokens were.
Summary World::summarise_requests() const {
  Summary s;
  s.seconds = static_cast<f64>(now_ns_) * kNs;
  std::vector<f64> ttft, tpot, times;
  std::array<std::vector<f64>, kClasses> by_class;
  f64 good = 0;
  f64 late = 0;
  for (const RequestResult& r : results_) {
    ++s.requests;
    s.joules_requests += r.joules;
    s.retried += r.attempts > 1 ? 1 : 0;
    s.interrupted += r.was_interrupted ? 1 : 0;
    if (r.fate == Fate::kUnfunded) {
      ++s.unfunded;
      continue;
    }
    s.cut += r.fate == Fate::kCut ? 1 : 0;
    if (r.fate != Fate::kDone && r.fate != Fate::kCut) {
      ++s.refused;
      ttft.push_back(s.seconds);
      by_class[static_cast<std::size_t>(r.service)].push_back(s.seconds);
      ++late;
      continue;
    }
    ++s.done;
    ttft.push_back(r.ttft_s());
    by_class[static_cast<std::size_t>(r.service)].push_back(r.ttft_s());
    if (r.output_tokens > 1) tpot.push_back(r.tpot_s());
    times.push_back(static_cast<f64>(r.done_ns - r.arrived_ns) * kNs);
    bool is_good = r.ttft_s() <= static_cast<f64>(scenario_.ttft_target_ns) * kNs &&
                   r.tpot_s() <= static_cast<f64>(scenario_.tpot_target_ns) * kNs;
    good += is_good ? 1 : 0;
    late += r.ttft_s() > kLateSeconds ? 1 : 0;
  }
  f64 count = std::max(1.0, static_cast<f64>(s.requests));
  s.ttft_mean = mean(ttft);
  s.ttft_p50 = quantile(ttft, 0.5);
  s.ttft_p90 = quantile(ttft, 0.9);
  s.ttft_p99 = quantile(ttft, 0.99);
  s.tpot_mean = mean(tpot);
  s.tpot_p99 = quantile(tpot, 0.99);
  s.request_p50 = quantile(times, 0.5);
  s.request_p99 = quantile(times, 0.99);
  s.goodput = good / count;
  s.late = late / count;
  for (std::size_t c = 0; c < kClasses; ++c) {
    s.classes[c] = {.requests = static_cast<i64>(by_class[c].size()),
                    .ttft_p50 = quantile(by_class[c], 0.5),
                    .ttft_p99 = quantile(by_class[c], 0.99)};
  }
  return s;
}

SupplierResult World::summarise_supplier(u32 supplier) const {
  const Supplier& from = suppliers_[supplier];
  const SupplierSpec& spec = scenario_.suppliers[supplier];
  SupplierResult r = from.result;
  f64 seconds = static_cast<f64>(now_ns_) * kNs;
  f64 busy = static_cast<f64>(from.device->busy_ns()) * kNs;
  f64 idle = std::max(0.0, seconds - busy);
  r.utilisation = seconds > 0 ? busy / seconds : 0;
  r.joules_idle = spec.pue * idle * spec.device.watts_idle;
  r.joules = spec.pue * busy * spec.device.watts_busy + r.joules_idle;
  r.prompt_tokens = from.device->computed_tokens();
  r.cached_tokens = from.device->cached_tokens();
  r.preemptions = from.device->preemptions();
  r.steps = from.device->steps();
  return r;
}

// Adds what the suppliers did, and drew for it.
void World::sum_suppliers(const std::vector<SupplierResult>& suppliers, Summary& s) const {
  i64 computed = 0;
  i64 cached = 0;
  for (std::size_t i = 0; i < suppliers.size(); ++i) {
    const SupplierResult& r = suppliers[i];
    computed += r.prompt_tokens;
    cached += r.cached_tokens;
    s.joules += r.joules;
    s.joules_idle += r.joules_idle;
    s.grams += r.joules * scenario_.suppliers[i].grams_per_joule;
    s.utilisation += r.utilisation / static_cast<f64>(suppliers.size());
  }
  s.hit =
      computed + cached > 0 ? static_cast<f64>(cached) / static_cast<f64>(computed + cached) : 0;
}

RunResult World::collect() {
  // What devices still do for requests that were given to others is theirs too.
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    suppliers_[i].device->crash();
    note_energy(i);
  }
  RunResult out;
  out.summary = summarise_requests();
  for (u32 i = 0; i < suppliers_.size(); ++i) out.suppliers.push_back(summarise_supplier(i));
  Summary& s = out.summary;
  sum_suppliers(out.suppliers, s);
  if (money_) s.money = money_->balance();
  s.price = price_;
  s.st = st_;
  s.price_per_st = st_ > 0 ? price_ / st_ : 0;
  s.joules_per_st = st_ > 0 ? s.joules / st_ : 0;
  s.coverage = router_.in_flight().coverage();
  s.decisions = router_.decisions();
  s.decision_us =
      s.decisions > 0 ? static_cast<f64>(decision_ns_) * 1e-3 / static_cast<f64>(s.decisions) : 0;
  s.replicas_most = ready_most_;
  s.replica_hours = replica_ns_ * kNs / 3600;
  s.ready_s = static_cast<f64>(ready_most_ns_) * kNs;
  out.requests = std::move(results_);
  return out;
}

RunResult run(const Scenario& scenario, const Trace& trace) {
  return World(scenario, trace).run();
}

}  // namespace tg::sim
