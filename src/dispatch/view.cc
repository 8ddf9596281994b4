#include "dispatch/view.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::dispatch {

namespace {

constexpr f64 kUnstated = 1e18;
constexpr f64 kPromptShareMax = 0.9;

// How long until one more of `wanted` units is free, of which `held` are given back over the time
// that open requests need to end.
f64 wait_for(f64 wanted, f64 held, f64 end_ns) {
  if (wanted <= 0) return 0;
  return held <= 0 ? 0 : end_ns * std::min(1.0, wanted / held);
}

// As long as its engine lets a step get (engine/sched/scheduler.cc): prompts have seven eighths of
// it, if that is neither shorter than the target nor longer than the longest.
f64 step_length_ns(const SupplierView& v, f64 decode_ns) {
  constexpr f64 kStreamsPart = 8;
  f64 target = static_cast<f64>(v.step_target_ns);
  f64 longest = std::max(target, static_cast<f64>(v.step_longest_ns));
  return std::clamp(kStreamsPart * (decode_ns - v.step.ns_per_step), target, longest);
}

}  // namespace

SupplierTerms make_terms(const SupplierView& v) {
  SupplierTerms t;
  t.is_open = v.health == Health::kUp || v.health == Health::kSuspect;
  t.health = v.health;
  t.zone = v.zone;
  f64 open = static_cast<f64>(v.running + v.waiting);
  f64 running = std::min(open, static_cast<f64>(std::max<i64>(1, v.running_max)));
  f64 decode_ns = v.step.ns_per_step + running * (v.step.ns_per_token + v.step.ns_per_row) +
                  static_cast<f64>(v.keys) * v.step.ns_per_key;
  f64 room = std::max(1.0, static_cast<f64>(v.step_tokens_max) - running);
  if (v.step_target_ns > 0 && v.step.ns_per_token > 0) {
    f64 fits = (step_length_ns(v, decode_ns) - decode_ns) / v.step.ns_per_token;
    room = std::clamp(fits, std::min(64.0, room), room);
  }
  t.token_ns = v.step.ns_per_token + decode_ns / room;
  t.pair_ns = v.step.ns_per_pair;
  // A step with prompts in it gives its decoders a token too: of the time that prompts take, steps
  // are as long as a full chunk.
  f64 share = std::clamp(v.prompt_share, 0.0, kPromptShareMax);
  f64 next_ns = decode_ns + v.step.ns_per_token + v.step.ns_per_row;
  f64 full_ns = next_ns + room * v.step.ns_per_token;
  f64 stretch = next_ns > 0 ? 1 / ((1 - share) + share * next_ns / full_ns) : 1;
  t.tpot_ns = next_ns * stretch;
  t.key_ns = v.step.ns_per_key * stretch;
  t.work_token_ns = v.step.ns_per_token;
  t.share_ns = v.step.ns_per_token + v.step.ns_per_row + v.step.ns_per_step / (running + 1);
  t.more_ns = v.step.ns_per_token + v.step.ns_per_row;
  t.crowd = running;
  t.keys_total = kUnstated;
  if (v.context_max > 0) t.keys_total = static_cast<f64>(v.context_max);
  if (v.keys_total > 0) t.keys_total = std::min(t.keys_total, static_cast<f64>(v.keys_total));
  t.ttft_band = v.ttft_band;
  t.tpot_band = v.tpot_band;
  t.price = v.price;
  t.watts = v.power.watts;
  t.energy_price = v.power.price_per_joule;
  t.carbon = v.power.grams_per_joule;
  t.prompts_done_ns = v.prompts_done_ns;
  // Open requests end after the outputs they are expected to have left, and give back as they do.
  f64 end_ns = open > 0 ? t.tpot_ns * static_cast<f64>(v.output_left) / open : 0;
  f64 slots = open + 1 - static_cast<f64>(v.running_max);
  t.room_ns = wait_for(slots, running, end_ns);
  if (v.keys_total > 0) {
    f64 promised = static_cast<f64>(v.keys_promised);
    f64 wanted = promised - static_cast<f64>(v.keys_total);
    t.room_ns = std::max(t.room_ns, wait_for(wanted, promised, end_ns));
  }
  // A step under way has half of itself to go; the last chunk's step is not full either.
  t.ttft_ns = static_cast<f64>(v.rtt_ns) + decode_ns * 1.5;
  return t;
}

u32 PoolView::add(const SupplierView& view) {
  views_.push_back(view);
  terms_.push_back(make_terms(view));
  return size() - 1;
}

void PoolView::update(u32 index, const SupplierView& view) {
  TG_ASSERT(index < size());
  views_[index] = view;
  terms_[index] = make_terms(view);
}

std::string_view health_name(Health health) {
  switch (health) {
    case Health::kUp: return "up";
    case Health::kSuspect: return "suspect";
    case Health::kDraining: return "draining";
    case Health::kDown: return "down";
  }
  return "?";
}

}  // namespace tg::dispatch
