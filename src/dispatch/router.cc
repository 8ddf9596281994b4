#include "dispatch/router.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "dispatch/policy/scene.h"

namespace tg::dispatch {

namespace {

// The rate at which work is sent is remembered for about so long.
constexpr f64 kRateMemoryNs = 5e9;

}  // namespace

Router::Router(const RouterOptions& options)
    : options_(options),
      in_flight_(pool_, true),
      prefixes_(options.block_tokens),
      line_(options.line) {}

u32 Router::add(const SupplierView& facts, i64 cache_blocks) {
  u32 supplier = pool_.add(facts);
  prefixes_.set_capacity(supplier, cache_blocks);
  return supplier;
}

void Router::set_health(u32 supplier, Health health) {
  SupplierView view = pool_.at(supplier);
  view.health = health;
  pool_.update(supplier, view);
}

void Router::reported(u32 supplier, const SupplierReport& report, i64 now_ns) {
  in_flight_.reported(supplier, report, now_ns);
}

WaitingLine::Admission Router::enter(Open& open, i64 now_ns) {
  const Ask& ask = open.ask;
  CachedPrefix cached = prefixes_.find(ask.blocks, ask.route.prompt_tokens);
  u32 most = 0;
  for (u32 tokens : cached.tokens) most = std::max(most, tokens);
  f64 uncached = static_cast<f64>(ask.route.prompt_tokens - most);
  open.waiting = {.id = ask.id,
                  .tenant = ask.tenant,
                  .service = ask.route.service,
                  .work = std::max(1.0, uncached),
                  .weight = ask.weight,
                  .arrived_ns = now_ns - ask.route.waited_ns};
  open.waiting.due_ns =
      open.waiting.arrived_ns + static_cast<i64>(options_.slack_ns_per_token * uncached);
  return line_.push(open.waiting);
}

WaitingLine::Admission Router::submit(Ask ask, i64 now_ns) {
  u64 id = ask.id;
  auto [place, is_new] = open_.try_emplace(id);
  TG_ASSERT(is_new);
  place->second.ask = std::move(ask);
  WaitingLine::Admission admission = enter(place->second, now_ns);
  if (admission != WaitingLine::Admission::kWaits) open_.erase(place);
  return admission;
}

Choice Router::decide(const Ask& ask, i64 now_ns) {
  CachedPrefix cached = prefixes_.find(ask.blocks, ask.route.prompt_tokens);
  RouteRequest route = ask.route;
  route.wishes.allow = ask.allow;
  route.wishes.deny = ask.deny;
  Moment moment{.now_ns = now_ns, .sequence = sequence_, .random = mix(options_.seed ^ sequence_)};
  ++sequence_;
  return choose(options_.policy, route, pool_, cached, options_.settings, moment);
}

Choice Router::dry_run(const Ask& ask, i64 now_ns) {
  u64 sequence = sequence_;
  Choice choice = decide(ask, now_ns);
  sequence_ = sequence;
  return choice;
}

// How long so much work in the line takes at the rate at which it was sent of late.
i64 Router::line_ns(f64 work, i64 now_ns) const {
  f64 faded = sent_work_ * std::exp(static_cast<f64>(sent_ns_ - now_ns) / kRateMemoryNs);
  f64 rate = faded / kRateMemoryNs;
  constexpr f64 kLongest = 1e12;
  return static_cast<i64>(rate > 0 ? std::min(kLongest, work / rate) : 0);
}

// Nobody is up who could serve it, but somebody who is down could: a start or a repair may be under
// way, and dropping it would not be better.
bool Router::waits_for_suppliers(const Choice& choice, const Open& open, i64 now_ns) const {
  if (choice.verdict != Verdict::kRefuse) return false;
  u32 absent = choice.excluded[static_cast<std::size_t>(Excluded::kDown)] +
               choice.excluded[static_cast<std::size_t>(Excluded::kDraining)];
  i64 most = options_.settings.waited_max_ns;
  return absent > 0 && (most == 0 || now_ns - open.waiting.arrived_ns <= most);
}

void Router::pump(i64 now_ns, std::vector<Sent>& sent, std::vector<Refused>& refused) {
  if (line_.size() == 0) return;
  line_.look(now_ns, options_.look, options_.look_tenant, looked_);
  i64 held = 0;
  f64 ahead = 0;  // work of those who keep their place before the next one
  for (const Waiting& w : looked_) {
    Open& open = open_.at(w.id);
    open.ask.route.waited_ns = now_ns - w.arrived_ns;
    // The last one that is looked at stands for all behind it.
    bool is_last = held + 1 >= options_.look_holds || &w == &looked_.back();
    open.ask.route.line_ns = line_ns(is_last ? line_.work() : ahead, now_ns);
    Choice choice = decide(open.ask, now_ns);
    if (choice.verdict == Verdict::kHold || waits_for_suppliers(choice, open, now_ns)) {
      ahead += w.work;
      if (++held >= options_.look_holds) return;
      continue;
    }
    if (choice.verdict == Verdict::kRefuse) {
      line_.remove(w);
      refused.push_back({w.id, choice});
      open_.erase(w.id);
      continue;
    }
    line_.sent(w);
    sent_work_ =
        sent_work_ * std::exp(static_cast<f64>(sent_ns_ - now_ns) / kRateMemoryNs) + w.work;
    sent_ns_ = now_ns;
    open.supplier = choice.supplier;
    in_flight_.sent(w.id, choice.supplier, open.ask.route, choice.forecast, now_ns);
    prefixes_.sent(choice.supplier, open.ask.blocks);
    sent.push_back({w.id, choice.supplier, choice});
  }
}

void Router::first_token(u64 id, i64 now_ns) {
  in_flight_.first_token(id, now_ns);
}

void Router::ended(u64 id, i64 output_tokens, i64 now_ns) {
  in_flight_.ended(id, output_tokens, now_ns);
  open_.erase(id);
}

void Router::lost(u64 id, i64 more_prompt, i64 now_ns) {
  auto found = open_.find(id);
  if (found == open_.end() || found->second.supplier == kNobody) return;
  Open& open = found->second;
  in_flight_.ended(id, 0, now_ns);
  open.ask.deny.push_back(open.supplier);
  open.ask.route.prompt_tokens += more_prompt;
  open.ask.route.output_tokens = std::max<i64>(1, open.ask.route.output_tokens - more_prompt);
  open.ask.route.waited_ns = now_ns - open.waiting.arrived_ns;
  open.supplier = kNobody;
  // It was admitted once: a full line must not drop it now, so it is refused only by its wait.
  if (enter(open, now_ns) != WaitingLine::Admission::kWaits) open_.erase(found);
}

void Router::cancel(u64 id, i64 now_ns) {
  auto found = open_.find(id);
  if (found == open_.end()) return;
  if (found->second.supplier == kNobody) line_.remove(found->second.waiting);
  in_flight_.ended(id, 0, now_ns);
  open_.erase(found);
}

}  // namespace tg::dispatch
