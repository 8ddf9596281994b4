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
    : options_(options), in_flight_(pool_), prefixes_(options.block_tokens), line_(options.line) {}

u32 Router::add(const SupplierView& facts, i64 cache_blocks) {
  u32 supplier = pool_.add(facts);
  standings_.emplace_back(facts.health, options_.breaker);
  prefixes_.set_capacity(supplier, cache_blocks);
  in_flight_.set_facts(supplier, facts);
  return supplier;
}

void Router::set_facts(u32 supplier, const SupplierView& facts, i64 now_ns) {
  Standing& standing = standings_[supplier];
  standing.state(facts.health);
  SupplierView view = facts;
  view.health = standing.health(now_ns);
  in_flight_.set_facts(supplier, view);
}

void Router::set_health(u32 supplier, Health stated, i64 now_ns) {
  standings_[supplier].state(stated);
  refresh(supplier, now_ns);
}

void Router::refresh(u32 supplier, i64 now_ns) {
  Health health = standings_[supplier].health(now_ns);
  if (pool_.at(supplier).health == health) return;
  SupplierView view = pool_.at(supplier);
  view.health = health;
  pool_.update(supplier, view);
}

void Router::reported(u32 supplier, const SupplierReport& report, i64 now_ns) {
  in_flight_.reported(supplier, report, now_ns);
  refresh(supplier, now_ns);
}

void Router::disputed(u32 supplier, std::string what, i64 now_ns) {
  standings_[supplier].dispute(std::move(what), now_ns);
  refresh(supplier, now_ns);
}

void Router::tick(i64 now_ns) {
  for (u32 i = 0; i < pool_.size(); ++i) refresh(i, now_ns);
}

void Router::expect_length(Ask& ask) {
  if (ask.route.output_tokens > 0) return;
  predict::LengthForecast lengths =
      lengths_.of(ask.tenant, ask.route.prompt_tokens, ask.output_tokens_max);
  ask.route.output_tokens = lengths.p50;
  // Suppliers go by what may come.
  ask.route.output_tokens_p90 = ask.output_tokens_max > 0 ? ask.output_tokens_max : lengths.p90;
}

WaitingLine::Admission Router::enter(Open& open, i64 now_ns, bool is_admitted) {
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
  open.is_waiting = true;
  return line_.push(open.waiting, is_admitted);
}

WaitingLine::Admission Router::submit(Ask ask, i64 now_ns) {
  u64 id = ask.id;
  auto [place, is_new] = open_.try_emplace(id);
  TG_ASSERT(is_new);
  expect_length(ask);
  place->second.prompt_tokens = ask.route.prompt_tokens;
  place->second.ask = std::move(ask);
  WaitingLine::Admission admission = enter(place->second, now_ns, false);
  ++arrivals_.requests;
  arrivals_.prompt_tokens += place->second.waiting.work;
  arrivals_.output_tokens += static_cast<f64>(place->second.ask.route.output_tokens);
  if (admission != WaitingLine::Admission::kWaits) open_.erase(place);
  return admission;
}

Router::Question Router::question(const Ask& ask, const std::vector<u32>& tried, i64 now_ns) {
  Question q{
      .route = ask.route,
      .cached = prefixes_.find(ask.blocks, ask.route.prompt_tokens),
      .moment = {
          .now_ns = now_ns, .sequence = sequence_, .random = mix(options_.seed ^ sequence_)}};
  q.route.wishes.allow = ask.allow;
  q.route.wishes.deny = ask.deny;
  if (tried.empty()) return q;
  denied_ = ask.deny;
  denied_.insert(denied_.end(), tried.begin(), tried.end());
  q.route.wishes.deny = denied_;
  return q;
}

Choice Router::decide(const Open& open, i64 now_ns) {
  Question q = question(open.ask, open.tried, now_ns);
  ++sequence_;
  return choose(options_.policy, q.route, pool_, q.cached, options_.settings, q.moment);
}

Explanation Router::explain(Ask ask, i64 now_ns) {
  expect_length(ask);
  Question q = question(ask, {}, now_ns);
  return dispatch::explain(options_.policy, q.route, pool_, q.cached, options_.settings, q.moment);
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
bool Router::waits_for_suppliers(const Choice& choice, const Open& open, i64 now_ns) {
  if (choice.verdict != Verdict::kRefuse) return false;
  i64 waited = now_ns - open.waiting.arrived_ns;
  i64 most = options_.settings.waited_max_ns;
  if (waited >= options_.absence_ns_max || (most != 0 && waited > most)) return false;
  Question q = question(open.ask, {}, now_ns);
  for (u32 i = 0; i < pool_.size(); ++i) {
    bool could = !pool_.terms()[i].is_open &&
                 exclusion_when_up(q.route, pool_, q.cached, i) == Excluded::kNo;
    if (could) return true;
  }
  return false;
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
    Choice choice = decide(open, now_ns);
    if (choice.verdict == Verdict::kRefuse && !open.tried.empty()) {
      // Everybody else is out: those that failed may have been unlucky.
      open.tried.clear();
      choice = decide(open, now_ns);
    }
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
    open.is_waiting = false;
    sent.push_back(send(open, choice, now_ns));
  }
}

Sent Router::send(Open& open, const Choice& choice, i64 now_ns) {
  u64 attempt = ++attempt_last_;
  u32 supplier = choice.supplier;
  in_flight_.sent(attempt, supplier, open.ask.route, choice.forecast, now_ns);
  prefixes_.sent(supplier, open.ask.blocks);
  standings_[supplier].breaker.sent(now_ns);
  refresh(supplier, now_ns);
  open.attempts.push_back(attempt);
  open.tried.push_back(supplier);
  attempts_.emplace(attempt, open.ask.id);
  return {open.ask.id, attempt, supplier, choice};
}

std::optional<Sent> Router::hedge(u64 id, i64 now_ns) {
  Open& open = open_.at(id);
  TG_ASSERT(!open.is_waiting);
  Choice choice = decide(open, now_ns);
  if (choice.verdict != Verdict::kSend) return std::nullopt;
  return send(open, choice, now_ns);
}

void Router::set_lists(u64 id, std::vector<u32> allow, std::vector<u32> deny) {
  auto found = open_.find(id);
  if (found == open_.end()) return;
  found->second.ask.allow = std::move(allow);
  found->second.ask.deny = std::move(deny);
}

void Router::first_token(u64 attempt, i64 now_ns) {
  in_flight_.first_token(attempt, now_ns);
}

void Router::ended(u64 attempt, i64 output_tokens, Outcome outcome, i64 now_ns) {
  auto found = attempts_.find(attempt);
  if (found == attempts_.end()) return;
  std::erase(open_.at(found->second).attempts, attempt);
  attempts_.erase(found);
  u32 supplier = in_flight_.ended(attempt, output_tokens, now_ns);
  Breaker& breaker = standings_[supplier].breaker;
  switch (outcome) {
    case Outcome::kServed: breaker.succeeded(); break;
    case Outcome::kBroken: breaker.failed(now_ns); break;
    case Outcome::kUndecided: breaker.undecided(); break;
  }
  refresh(supplier, now_ns);
}

void Router::retry(u64 id, i64 more_prompt, std::vector<u64> blocks, i64 now_ns) {
  Open& open = open_.at(id);
  TG_ASSERT(!open.is_waiting && open.attempts.empty());
  RouteRequest& route = open.ask.route;
  route.prompt_tokens += more_prompt;
  route.output_tokens = std::max<i64>(1, route.output_tokens - more_prompt);
  route.output_tokens_p90 = std::max<i64>(1, route.output_tokens_p90 - more_prompt);
  route.waited_ns = now_ns - open.waiting.arrived_ns;
  if (!blocks.empty()) open.ask.blocks = std::move(blocks);
  // It was admitted once: a full line must not drop it now, so it is refused only by its wait.
  enter(open, now_ns, true);
}

void Router::close(u64 id, i64 output_tokens, i64 now_ns) {
  auto found = open_.find(id);
  if (found == open_.end()) return;
  Open& open = found->second;
  if (open.is_waiting) line_.remove(open.waiting);
  while (!open.attempts.empty()) ended(open.attempts.back(), 0, Outcome::kUndecided, now_ns);
  if (output_tokens > 0) lengths_.ended(open.ask.tenant, open.prompt_tokens, output_tokens);
  open_.erase(found);
}

}  // namespace tg::dispatch
