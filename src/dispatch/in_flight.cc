#include "dispatch/in_flight.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::dispatch {

namespace {

// Prompts' share of a supplier's time is remembered for about so long.
constexpr f64 kShareMemoryNs = 20e9;
constexpr f64 kShareMax = 0.9;
// A first token shifts the rest of the queue by this part of how early or late it was.
constexpr f64 kShift = 0.5;
// Measurements move what is believed of a supplier's speed by this part of their difference, which
// counts up to a factor of kSurprise: the first ones by more, so that a claim that is off by a
// hundred is found out within some twenty. Beliefs stay within a factor of kDisbelief of the claim.
constexpr f64 kLearn = 0.05;
constexpr f64 kLearnFirst = 0.3;
constexpr f64 kFirstOnes = 10;
constexpr f64 kSurprise = 4;
constexpr f64 kDisbelief = 256;
// Answers shorter than this say little of the time per token.
constexpr i64 kTokensToLearn = 8;

// What a supplier may say of itself, lest one figure spoil all arithmetic.
constexpr f64 kNsMax = 3.6e12;

f64 sane(f64 ns) {
  return std::isfinite(ns) && ns > 0 ? std::min(ns, kNsMax) : 0;
}

fleet::StepEstimate sane(const fleet::StepEstimate& step) {
  return {.ns_per_step = sane(step.ns_per_step),
          .ns_per_token = sane(step.ns_per_token),
          .ns_per_row = sane(step.ns_per_row),
          .ns_per_key = sane(step.ns_per_key),
          .ns_per_pair = sane(step.ns_per_pair),
          .error = step.error};
}

}  // namespace

void InFlight::Learnt::learn(f64 measured, f64 predicted, f64 believed) {
  if (measured <= 0 || predicted <= 0) return;
  f64 part = std::max(kLearn, kLearnFirst / (1 + static_cast<f64>(count++) / kFirstOnes));
  f64 surprise = std::clamp(believed + std::log(measured / predicted) - log_factor,
                            -std::log(kSurprise), std::log(kSurprise));
  log_factor =
      std::clamp(log_factor + part * surprise, -std::log(kDisbelief), std::log(kDisbelief));
}

InFlight::Load& InFlight::load_of(u32 supplier) {
  TG_ASSERT(supplier < pool_.size());
  while (loads_.size() <= supplier) {
    loads_.emplace_back();
    loads_.back().claimed = pool_.at(static_cast<u32>(loads_.size() - 1)).step;
  }
  return loads_[supplier];
}

f64 InFlight::coverage() const {
  return first_tokens_ == 0 ? 0 : static_cast<f64>(covered_) / static_cast<f64>(first_tokens_);
}

f64 InFlight::prompt_factor(u32 supplier) const {
  return supplier < loads_.size() ? std::exp(loads_[supplier].prompts.log_factor) : 1;
}

f64 InFlight::decode_factor(u32 supplier) const {
  return supplier < loads_.size() ? std::exp(loads_[supplier].decodes.log_factor) : 1;
}

i64 InFlight::open(u32 supplier) const {
  return supplier < loads_.size() ? loads_[supplier].open : 0;
}

void InFlight::add_prompt_work(Load& load, f64 work_ns, i64 now_ns) {
  f64 passed = static_cast<f64>(std::max<i64>(0, now_ns - load.share_ns));
  load.prompt_share *= std::exp(-passed / kShareMemoryNs);
  load.share_ns = now_ns;
  load.prompt_share = std::min(1.0, load.prompt_share + work_ns / kShareMemoryNs);
}

void InFlight::sent(u64 id, u32 supplier, const RouteRequest& request, const Forecast& forecast,
                    i64 now_ns) {
  Load& load = load_of(supplier);
  const SupplierTerms& terms = pool_.terms()[supplier];
  f64 uncached = static_cast<f64>(request.prompt_tokens - forecast.cached_tokens);
  f64 cached = static_cast<f64>(forecast.cached_tokens);
  f64 pairs_ns = uncached * (cached + uncached / 2) * terms.pair_ns;
  Open open{.supplier = supplier,
            .prompt_tokens = request.prompt_tokens,
            .uncached_tokens = request.prompt_tokens - forecast.cached_tokens,
            .output_tokens = std::max<i64>(1, request.output_tokens),
            .sent_ns = now_ns,
            .ttft_ns = forecast.ttft_ns,
            .ttft_p90_ns = forecast.ttft_p90_ns,
            .tpot_ns = forecast.tpot_ns,
            .prompt_work_ns = uncached * terms.token_ns + pairs_ns,
            .prompts_believed = load.prompts.log_factor,
            .decodes_believed = load.decodes.log_factor};
  bool is_new = open_.emplace(id, open).second;
  TG_ASSERT(is_new);
  load.open += 1;
  load.without_first += 1;
  load.prompt_tokens += open.uncached_tokens;
  load.keys += open.prompt_tokens;
  load.keys_promised += open.prompt_tokens + open.output_tokens;
  load.output_left += open.output_tokens;
  load.prompts_done_ns =
      std::max(load.prompts_done_ns, now_ns) + static_cast<i64>(open.prompt_work_ns);
  add_prompt_work(load, uncached * terms.work_token_ns + pairs_ns, now_ns);
  publish(supplier);
}

FirstToken InFlight::first_token(u64 id, i64 now_ns) {
  auto found = open_.find(id);
  if (found == open_.end() || found->second.has_first) return {};
  Open& open = found->second;
  Load& load = load_of(open.supplier);
  open.has_first = true;
  open.first_ns = now_ns;
  load.without_first -= 1;
  load.prompt_tokens -= open.uncached_tokens;
  FirstToken first{open.supplier, open.ttft_ns, static_cast<f64>(now_ns - open.sent_ns)};
  ++first_tokens_;
  covered_ += first.measured_ns <= open.ttft_p90_ns ? 1 : 0;
  if (first.predicted_ns > 0 && first.measured_ns > 0) {
    load.ttft_band.observe(first.predicted_ns, std::max(open.ttft_p90_ns, 1.0), first.measured_ns);
  }
  load.prompts.learn(first.measured_ns, first.predicted_ns, open.prompts_believed);
  // Prompts are computed about in order: what this one was late by, those behind it will be, and
  // when none is left the queue is empty whatever was thought.
  if (load.without_first == 0) {
    load.prompts_done_ns = now_ns;
  } else {
    f64 off = first.measured_ns - first.predicted_ns;
    load.prompts_done_ns = std::max(now_ns, load.prompts_done_ns + static_cast<i64>(kShift * off));
  }
  publish(open.supplier);
  return first;
}

u32 InFlight::ended(u64 id, i64 output_tokens, i64 now_ns) {
  auto found = open_.find(id);
  if (found == open_.end()) return kNobody;
  const Open& open = found->second;
  Load& load = load_of(open.supplier);
  if (!open.has_first) {
    load.without_first -= 1;
    load.prompt_tokens -= open.uncached_tokens;
    // A prompt that ended without a token frees its place in the queue.
    load.prompts_done_ns =
        load.without_first == 0
            ? now_ns
            : std::max(now_ns, load.prompts_done_ns - static_cast<i64>(open.prompt_work_ns));
  }
  if (open.has_first && output_tokens >= kTokensToLearn) {
    f64 tpot_ns = static_cast<f64>(now_ns - open.first_ns) / static_cast<f64>(output_tokens - 1);
    load.decodes.learn(tpot_ns, open.tpot_ns, open.decodes_believed);
  }
  load.open -= 1;
  load.keys -= open.prompt_tokens;
  load.keys_promised -= open.prompt_tokens + open.output_tokens;
  load.output_left -= open.output_tokens;
  u32 supplier = open.supplier;
  open_.erase(found);
  publish(supplier);
  return supplier;
}

void InFlight::reported(u32 supplier, const SupplierReport& report, i64 now_ns) {
  Load& load = load_of(supplier);
  i64 ours_waiting = std::min(load.without_first, report.waiting);
  load.others_waiting = std::max<i64>(0, report.waiting - ours_waiting);
  load.others_running = std::max<i64>(0, report.running - (load.open - ours_waiting));
  load.others_keys = std::max<i64>(0, report.keys - load.keys);
  load.reported_ns = std::min(report.made_ns, now_ns);
  publish(supplier);
}

void InFlight::set_facts(u32 supplier, const SupplierView& facts) {
  load_of(supplier).claimed = sane(facts.step);
  pool_.update(supplier, facts);
  publish(supplier);
}

void InFlight::apply_learnt(const Load& load, SupplierView& view) {
  f64 prompts = std::exp(load.prompts.log_factor);
  f64 decodes = std::exp(load.decodes.log_factor);
  view.step.ns_per_token = load.claimed.ns_per_token * prompts;
  view.step.ns_per_pair = load.claimed.ns_per_pair * prompts;
  view.step.ns_per_step = load.claimed.ns_per_step * decodes;
  view.step.ns_per_row = load.claimed.ns_per_row * decodes;
  view.step.ns_per_key = load.claimed.ns_per_key * decodes;
  view.ttft_band = load.ttft_band.factor();
}

void InFlight::publish(u32 supplier) {
  const Load& load = loads_[supplier];
  SupplierView view = pool_.at(supplier);
  apply_learnt(load, view);
  view.running = std::min(load.open, view.running_max) + load.others_running;
  view.waiting = load.open - std::min(load.open, view.running_max) + load.others_waiting;
  view.prompt_tokens = load.prompt_tokens;
  view.keys = load.keys + load.others_keys;
  view.keys_promised = load.keys_promised + load.others_keys;
  view.output_left = load.output_left;
  view.prompts_done_ns = load.prompts_done_ns;
  view.prompt_share = std::min(load.prompt_share, kShareMax);
  view.reported_ns = load.reported_ns;
  pool_.update(supplier, view);
}

}  // namespace tg::dispatch
