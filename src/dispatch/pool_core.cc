#include "dispatch/pool_core.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "dispatch/explain.h"

namespace tg::dispatch {

using fleet::FinishReason;
using Kind = fleet::SupplierEvent::Kind;

namespace {

constexpr f64 kNanoPerMicro = 1'000;
constexpr std::size_t kFailuresShown = 300;
// Claims may exceed our count by the end-of-generation token, which engines count and do not send.
constexpr i64 kClaimSlack = 1;
constexpr i64 kBlockTokens = 32;
constexpr i64 kPromptBlocksMax = 512;

RouterOptions router_options(const PoolSettings& s) {
  RouterOptions options;
  options.policy = s.policy;
  options.settings = s.route;
  options.line.waiting_max = s.waiting_max;
  options.line.tenant_waiting_max = s.waiting_max;
  options.breaker = s.breaker;
  options.block_tokens = kBlockTokens;
  options.absence_ns_max = s.absence_ns_max;
  options.seed = s.seed;
  return options;
}

bool says_nothing(const fleet::StepEstimate& step) {
  return !(step.ns_per_step + step.ns_per_token + step.ns_per_row > 0);
}

std::vector<u64> blocks_of(std::span<const TokenId> prompt, u64 salt) {
  return block_hashes(prompt, salt, kBlockTokens, kPromptBlocksMax);
}

bool names_suppliers(const fleet::RouteWishes& wishes) {
  return !wishes.allow.empty() || !wishes.deny.empty();
}

i64 size_of(const std::vector<TokenId>& tokens) {
  return static_cast<i64>(tokens.size());
}

}  // namespace

PoolCore::PoolCore(PoolSettings settings)
    : settings_(std::move(settings)), router_(router_options(settings_)) {}

u32 PoolCore::zone_of(const std::string& name) {
  for (u32 i = 0; i < zones_.size(); ++i) {
    if (zones_[i] == name) return i;
  }
  // Zones beyond what a mask holds share its last bit.
  if (zones_.size() < kZonesMax) zones_.push_back(name);
  return static_cast<u32>(zones_.size()) - 1;
}

u32 PoolCore::join(const PoolSupplier& supplier, i64 now_ns) {
  u32 index = 0;
  while (index < names_.size() && names_[index] != supplier.name) ++index;
  if (index == names_.size()) {
    members_.emplace_back();
    names_.push_back(supplier.name);
    router_.add(SupplierView{}, settings_.prefix_blocks_max);
    for (const auto& [id, open] : requests_) {
      if (!names_suppliers(open.request.wishes)) continue;
      Ask ask;
      read_lists(open.request.wishes, ask);
      router_.set_lists(id, std::move(ask.allow), std::move(ask.deny));
    }
  }
  members_[index].facts = supplier;
  members_[index].is_gone = false;
  members_[index].is_draining = false;
  publish(index, now_ns);
  pump(now_ns);
  return index;
}

void PoolCore::leave(u32 supplier, i64 now_ns) {
  TG_ASSERT(supplier < members_.size());
  members_[supplier].is_gone = true;
  router_.restarted(supplier);
  publish(supplier, now_ns);
  std::vector<u64> left;
  for (const auto& [id, attempt] : attempts_) {
    if (attempt.supplier == supplier) left.push_back(id);
  }
  for (u64 id : left) give_up(id, "left the pool", now_ns);
}

void PoolCore::drain(u32 supplier, i64 now_ns) {
  TG_ASSERT(supplier < members_.size());
  members_[supplier].is_draining = true;
  publish(supplier, now_ns);
}

void PoolCore::report(u32 supplier, const fleet::SupplierLoad& load, i64 now_ns) {
  TG_ASSERT(supplier < members_.size());
  Member& member = members_[supplier];
  bool was_up = member.load.is_up;
  member.load = load;
  if (was_up && !load.is_up) router_.restarted(supplier);
  router_.reported(supplier,
                   {.made_ns = now_ns,
                    .running = std::max<i64>(0, load.running),
                    .waiting = std::max<i64>(0, load.waiting)},
                   now_ns);
  publish(supplier, now_ns);
}

// What the router is told of a supplier, by its own words and the operator's.
void PoolCore::publish(u32 supplier, i64 now_ns) {
  const Member& member = members_[supplier];
  SupplierView view = router_.pool().at(supplier);
  bool is_draining = member.load.is_draining || member.is_draining;
  view.health = is_draining ? Health::kDraining : Health::kUp;
  if (member.is_gone || !member.load.is_up) view.health = Health::kDown;
  view.zone = static_cast<u16>(zone_of(member.facts.zone));
  view.rtt_ns = member.facts.rtt_ns;
  view.step = says_nothing(member.load.step) ? member.facts.step : member.load.step;
  view.price = member.facts.price;
  view.power = member.facts.power;
  view.context_max = std::max<i64>(0, member.load.context_max);
  if (member.load.slots > 0) view.running_max = member.load.slots;
  if (member.facts.requests_max > 0) view.running_max = member.facts.requests_max;
  router_.set_facts(supplier, view, now_ns);
}

void PoolCore::submit(fleet::SupplyRequest request, i64 now_ns) {
  ++counters_.requests;
  u64 id = request.id;
  Ask ask = ask_of(request);
  Open open;
  open.funded_tokens = request.funded_tokens;
  open.prompt_tokens = size_of(request.prompt);
  open.request = std::move(request);
  open.arrived_ns = now_ns;
  auto [entry, is_new] = requests_.emplace(id, std::move(open));
  TG_ASSERT(is_new);
  const std::string& zone = entry->second.request.wishes.zone;
  bool is_zone_here = zone.empty() || std::find(zones_.begin(), zones_.end(), zone) != zones_.end();
  bool is_impossible = !is_zone_here || ask.allow == std::vector<u32>{kNobody};
  if (is_impossible) {
    Choice none;
    none.excluded[static_cast<std::size_t>(Excluded::kDenied)] = router_.pool().size();
    return refuse(entry->second, none, now_ns);
  }
  if (router_.submit(std::move(ask), now_ns) != WaitingLine::Admission::kWaits) {
    return finish(entry->second, FinishReason::kError,
                  fmt::format("{} requests wait for suppliers already", waiting()),
                  fleet::Fault::kBusy, now_ns);
  }
  pump_for(id, now_ns);
}

// Names that nobody has here allow nobody.
void PoolCore::read_lists(const fleet::RouteWishes& wishes, Ask& ask) const {
  for (u32 i = 0; i < names_.size(); ++i) {
    auto named = [&](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), names_[i]) != list.end();
    };
    if (named(wishes.allow)) ask.allow.push_back(i);
    if (named(wishes.deny)) ask.deny.push_back(i);
  }
  if (!wishes.allow.empty() && ask.allow.empty()) ask.allow.push_back(kNobody);
}

Ask PoolCore::ask_of(const fleet::SupplyRequest& r) const {
  const fleet::RouteWishes& wishes = r.wishes;
  Ask ask{.id = r.id, .tenant = r.cache_salt, .output_tokens_max = r.max_tokens};
  RouteRequest& route = ask.route;
  route.prompt_tokens = size_of(r.prompt);
  route.service = r.service;
  route.session = r.cache_salt;
  route.wishes.price_max = static_cast<f64>(wishes.price_max_ucredit) * kNanoPerMicro;
  route.wishes.ttft_target_ns = r.deadline_ns;
  route.wishes.tpot_target_ns = wishes.tpot_target_ns;
  route.wishes.energy_weight = wishes.energy_weight * kNanoPerMicro;
  std::vector<std::string>::const_iterator zone =
      std::find(zones_.begin(), zones_.end(), wishes.zone);
  if (!wishes.zone.empty() && zone != zones_.end())
    route.wishes.zones = u64{1} << (zone - zones_.begin());
  read_lists(wishes, ask);
  ask.blocks = blocks_of(r.prompt, r.cache_salt);
  return ask;
}

void PoolCore::pump(i64 now_ns) {
  if (waiting() == 0) return;
  sent_.clear();
  refused_.clear();
  router_.pump(now_ns, sent_, refused_);
  for (const Sent& sent : sent_) send(requests_.at(sent.id), sent, now_ns);
  for (const Refused& refused : refused_) refuse(requests_.at(refused.id), refused.choice, now_ns);
}

// For one that has just begun to wait.
void PoolCore::pump_for(u64 id, i64 now_ns) {
  pump(now_ns);
  std::unordered_map<u64, Open>::const_iterator found = requests_.find(id);
  if (found != requests_.end() && found->second.attempts.empty()) ++counters_.held;
}

void PoolCore::refuse(Open& open, const Choice& choice, i64 now_ns) {
  ++counters_.refused;
  auto count = [&](Excluded why) { return choice.excluded[static_cast<std::size_t>(why)]; };
  bool may_return = count(Excluded::kDown) + count(Excluded::kDraining) + count(Excluded::kNo) > 0;
  open.route = route_header(settings_.policy, choice, names_);
  bool is_for_good = !may_return && open.failures.empty();
  std::string why = open.failures.empty() ? "no supplier may serve this request: " + open.route
                                          : "suppliers failed: " + open.failures;
  finish(open, FinishReason::kError, std::move(why),
         is_for_good ? fleet::Fault::kInvalid : fleet::Fault::kBusy, now_ns);
}

void PoolCore::send(Open& open, const Sent& sent, i64 now_ns) {
  const Choice& choice = sent.choice;
  i64 done = size_of(open.delivered);
  Attempt attempt;
  attempt.request = open.request.id;
  attempt.supplier = sent.supplier;
  attempt.last_ns = now_ns;
  attempt.prompt_tokens = open.prompt_tokens;
  if (choice.hedge_after_ns > 0) attempt.hedge_ns = now_ns + choice.hedge_after_ns;
  PoolOrder order;
  order.supplier = sent.supplier;
  order.attempt = sent.attempt;
  order.request = open.request;
  order.request.id = sent.attempt;
  order.request.events = nullptr;
  order.request.prompt.insert(order.request.prompt.end(), open.delivered.begin(),
                              open.delivered.end());
  order.request.max_tokens -= done;
  if (open.funded_tokens > 0)
    order.request.funded_tokens = std::max<i64>(1, open.funded_tokens - done);
  if (open.request.deadline_ns > 0) {
    i64 left = open.arrived_ns + open.request.deadline_ns - now_ns;
    order.request.deadline_ns = std::max<i64>(1, left);
  }
  ++members_[sent.supplier].attempts;
  ++open.sends;
  open.attempts.push_back(sent.attempt);
  open.route = route_header(settings_.policy, choice, names_);
  if (open.sends > 1) {
    open.route += fmt::format("; attempt={}", open.sends);
    if (!open.failures.empty()) open.route += "; after=" + open.failures;
  }
  attempt.route = open.route;
  attempts_.emplace(sent.attempt, std::move(attempt));
  orders_.push_back(std::move(order));
}

void PoolCore::cancel(u64 id, i64 now_ns) {
  std::unordered_map<u64, Open>::iterator found = requests_.find(id);
  if (found == requests_.end() || found->second.is_cancelled) return;
  Open& open = found->second;
  open.is_cancelled = true;
  if (open.attempts.empty()) {
    return finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
  for (u64 attempt : open.attempts) {
    orders_.push_back({.kind = PoolOrder::Kind::kCancel,
                       .supplier = attempts_.at(attempt).supplier,
                       .attempt = attempt});
  }
}

void PoolCore::extend(u64 id, i64 funded_tokens, bool is_final) {
  std::unordered_map<u64, Open>::iterator found = requests_.find(id);
  if (found == requests_.end()) return;
  Open& open = found->second;
  bool is_news = funded_tokens > open.funded_tokens || is_final != open.request.is_funding_final;
  if (open.funded_tokens == 0 || !is_news) return;
  open.funded_tokens = std::max(open.funded_tokens, funded_tokens);
  open.request.is_funding_final = is_final;
  for (u64 id_of : open.attempts) {
    const Attempt& attempt = attempts_.at(id_of);
    i64 before = attempt.prompt_tokens - size_of(open.request.prompt);
    orders_.push_back({.kind = PoolOrder::Kind::kExtend,
                       .supplier = attempt.supplier,
                       .attempt = id_of,
                       .request = {},
                       .funded_tokens = open.funded_tokens - before,
                       .is_funding_final = is_final});
  }
}

void PoolCore::event(fleet::SupplierEvent event, i64 now_ns) {
  std::unordered_map<u64, Attempt>::iterator found = attempts_.find(event.request);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  attempt.last_ns = now_ns;
  if (event.kind == Kind::kFinished) return take_end(found->first, std::move(event), now_ns);
  take_tokens(attempt, requests_.at(attempt.request), std::move(event), now_ns);
}

void PoolCore::take_tokens(Attempt& attempt, Open& open, fleet::SupplierEvent event, i64 now_ns) {
  if (event.tokens.empty()) return;
  u64 id = event.request;
  bool is_first = attempt.first_ns == 0;
  if (is_first) {
    attempt.first_ns = now_ns;
    router_.first_token(id, now_ns);
    if (open.attempts.size() > 1) win(open, id, now_ns);
  }
  // Nobody pays for more than was asked for, whatever a supplier sends.
  i64 room = open.request.max_tokens - size_of(open.delivered);
  if (size_of(event.tokens) > room) {
    event.tokens.resize(static_cast<std::size_t>(std::max<i64>(0, room)));
    if (event.logprobs.size() > event.tokens.size()) event.logprobs.resize(event.tokens.size());
    if (event.top_logprobs.size() > event.tokens.size())
      event.top_logprobs.resize(event.tokens.size());
    const std::string surplus = "sends more tokens than asked for";
    if (router_.standing(attempt.supplier).last_dispute() != surplus) ++counters_.disputes;
    router_.disputed(attempt.supplier, surplus, now_ns);
  }
  if (event.tokens.empty()) return;
  attempt.tokens += size_of(event.tokens);
  members_[attempt.supplier].tokens += event.tokens.size();
  open.delivered.insert(open.delivered.end(), event.tokens.begin(), event.tokens.end());
  open.is_estimated = open.is_estimated || event.is_estimated;
  if (open.first_ns == 0) open.first_ns = now_ns;
  event.request = open.request.id;
  if (!std::exchange(open.is_announced, true)) {
    event.supplier = names_[attempt.supplier];
    event.route = open.route;
  }
  deliveries_.push_back({open.request.events, std::move(event)});
  if (is_first) pump(now_ns);
}

// The other attempt has lost: whatever it says from now on is not heard.
void PoolCore::win(Open& open, u64 winner, i64 now_ns) {
  std::vector<u64> losers;
  for (u64 id : open.attempts) {
    if (id != winner) losers.push_back(id);
  }
  // The hedge is the later of the two.
  if (!losers.empty() && winner > losers.front()) ++counters_.hedges_won;
  for (u64 id : losers) {
    orders_.push_back(
        {.kind = PoolOrder::Kind::kCancel, .supplier = attempts_.at(id).supplier, .attempt = id});
    close(id, {}, false, Outcome::kUndecided, now_ns);
  }
  if (!losers.empty()) open.route = attempts_.at(winner).route + "; hedged";
}

PoolCore::Attempt PoolCore::close(u64 id, const fleet::SupplierEvent& event, bool is_served,
                                  Outcome outcome, i64 now_ns) {
  std::unordered_map<u64, Attempt>::iterator found = attempts_.find(id);
  TG_ASSERT(found != attempts_.end());
  Attempt attempt = std::move(found->second);
  attempts_.erase(found);
  router_.ended(id, attempt.tokens, outcome, now_ns);
  std::erase(requests_.at(attempt.request).attempts, id);
  std::string dispute = event.dispute;
  bool has_usage = event.kind == Kind::kFinished && event.usage.output_tokens > 0;
  if (dispute.empty() && has_usage && event.usage.output_tokens > attempt.tokens + kClaimSlack) {
    dispute =
        fmt::format("claims {} output tokens, {} came", event.usage.output_tokens, attempt.tokens);
  }
  if (!dispute.empty()) {
    ++counters_.disputes;
    router_.disputed(attempt.supplier, dispute, now_ns);
  }
  records_.push_back(
      {.supplier = names_[attempt.supplier],
       .request = attempt.request,
       .prompt_tokens = attempt.prompt_tokens,
       .cached_tokens = std::clamp<i64>(event.usage.cached_tokens, 0, attempt.prompt_tokens),
       .output_tokens = attempt.tokens,
       .claimed_tokens = event.usage.output_tokens,
       .is_served = is_served,
       .is_failed = event.kind == Kind::kFinished && event.reason == FinishReason::kError,
       .dispute = std::move(dispute)});
  return attempt;
}

void PoolCore::take_end(u64 id, fleet::SupplierEvent event, i64 now_ns) {
  Open& open = requests_.at(attempts_.at(id).request);
  bool was_asked = open.is_cancelled && event.reason == FinishReason::kCancelled;
  bool is_failure = event.reason == FinishReason::kError ||
                    (event.reason == FinishReason::kCancelled && !was_asked);
  Outcome outcome = is_failure || was_asked ? Outcome::kUndecided : Outcome::kServed;
  if (is_failure && event.fault == fleet::Fault::kBroken) outcome = Outcome::kBroken;
  Attempt attempt = close(id, event, !is_failure, outcome, now_ns);
  if (is_failure) {
    if (event.reason == FinishReason::kCancelled) event.error = "ended the request unasked";
    fail(open, attempt.supplier, event, now_ns);
  } else {
    event.supplier = names_[attempt.supplier];
    for (u64 other : std::vector<u64>(open.attempts)) {
      orders_.push_back({.kind = PoolOrder::Kind::kCancel,
                         .supplier = attempts_.at(other).supplier,
                         .attempt = other});
      close(other, {}, false, Outcome::kUndecided, now_ns);
    }
    deliver_end(open, std::move(event), now_ns);
  }
  pump(now_ns);
}

void PoolCore::fail(Open& open, u32 supplier, const fleet::SupplierEvent& event, i64 now_ns) {
  ++members_[supplier].failures;
  if (open.is_cancelled) {
    if (!open.attempts.empty()) return;
    return finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
  std::string failure = names_[supplier] + ": " + event.error;
  if (open.failures.size() < kFailuresShown)
    open.failures += (open.failures.empty() ? "" : ", ") + failure.substr(0, kFailuresShown / 2);
  // A hedge may still make it.
  if (!open.attempts.empty()) return;
  i64 left = open.request.max_tokens - size_of(open.delivered);
  bool is_whole = left <= 0;
  if (is_whole) {
    fleet::SupplierEvent end;
    end.kind = Kind::kFinished;
    end.reason = FinishReason::kLength;
    end.supplier = names_[supplier];
    return deliver_end(open, std::move(end), now_ns);
  }
  if (open.sends >= settings_.attempts_max) {
    ++counters_.failed;
    return finish(open, FinishReason::kError, "suppliers failed: " + open.failures, event.fault,
                  now_ns);
  }
  retry(open, now_ns);
}

void PoolCore::retry(Open& open, i64 now_ns) {
  ++(open.delivered.empty() ? counters_.retries : counters_.continuations);
  i64 more = size_of(open.request.prompt) + size_of(open.delivered) - open.prompt_tokens;
  std::vector<u64> blocks;
  if (more > 0) {
    std::vector<TokenId> all = open.request.prompt;
    all.insert(all.end(), open.delivered.begin(), open.delivered.end());
    blocks = blocks_of(all, open.request.cache_salt);
    open.prompt_tokens += more;
  }
  u64 id = open.request.id;
  router_.retry(id, more, std::move(blocks), now_ns);
  pump_for(id, now_ns);
}

void PoolCore::give_up(u64 id, std::string why, i64 now_ns) {
  orders_.push_back(
      {.kind = PoolOrder::Kind::kCancel, .supplier = attempts_.at(id).supplier, .attempt = id});
  fleet::SupplierEvent failure;
  failure.request = id;
  failure.kind = Kind::kFinished;
  failure.reason = FinishReason::kError;
  failure.error = std::move(why);
  take_end(id, std::move(failure), now_ns);
}

void PoolCore::refused(u64 attempt, const Error& error, i64 now_ns) {
  if (!attempts_.contains(attempt)) return;
  fleet::SupplierEvent failure;
  failure.request = attempt;
  failure.kind = Kind::kFinished;
  failure.reason = FinishReason::kError;
  failure.error = error.message;
  failure.fault = fleet::Fault::kInvalid;
  if (error.code == Code::kUnavailable) failure.fault = fleet::Fault::kBusy;
  take_end(attempt, std::move(failure), now_ns);
}

// One request, one charge: what the buyer got, whoever gave it.
void PoolCore::deliver_end(Open& open, fleet::SupplierEvent event, i64 now_ns) {
  i64 prompt = size_of(open.request.prompt);
  event.request = open.request.id;
  event.usage.prompt_tokens = prompt;
  event.usage.cached_tokens = std::clamp<i64>(event.usage.cached_tokens, 0, prompt);
  event.usage.output_tokens = size_of(open.delivered);
  event.usage.total_ns = now_ns - open.arrived_ns;
  event.usage.first_token_ns = open.first_ns == 0 ? 0 : open.first_ns - open.arrived_ns;
  event.is_estimated = event.is_estimated || open.is_estimated;
  event.route = open.route;
  event.dispute.clear();
  u64 id = open.request.id;
  bool is_whole = event.reason != FinishReason::kError && event.reason != FinishReason::kCancelled;
  router_.close(id, is_whole ? size_of(open.delivered) : 0, now_ns);
  deliveries_.push_back({open.request.events, std::move(event)});
  requests_.erase(id);
}

void PoolCore::finish(Open& open, FinishReason reason, std::string error, fleet::Fault fault,
                      i64 now_ns) {
  TG_ASSERT(open.attempts.empty());
  fleet::SupplierEvent event;
  event.kind = Kind::kFinished;
  event.reason = reason;
  event.error = std::move(error);
  event.fault = fault;
  deliver_end(open, std::move(event), now_ns);
}

void PoolCore::hedge(u64 id, i64 now_ns) {
  Attempt& attempt = attempts_.at(id);
  attempt.hedge_ns = 0;
  Open& open = requests_.at(attempt.request);
  bool may = !open.is_hedged && !open.is_cancelled && open.attempts.size() == 1 &&
             (counters_.hedges + 1) * 1'000'000 <=
                 static_cast<u64>(settings_.hedges_ppm_max) * counters_.requests + 1'000'000;
  if (!may) return;
  std::optional<Sent> sent = router_.hedge(open.request.id, now_ns);
  if (!sent) return;
  open.is_hedged = true;
  ++counters_.hedges;
  sent->choice.hedge_after_ns = 0;
  send(open, *sent, now_ns);
}

bool PoolCore::awaits_funds(const Attempt& attempt) const {
  const Open& open = requests_.at(attempt.request);
  i64 before = attempt.prompt_tokens - static_cast<i64>(open.request.prompt.size());
  bool is_at_edge = open.funded_tokens > 0 && before + attempt.tokens >= open.funded_tokens;
  return is_at_edge && attempt.first_ns > 0 && open.funded_tokens < open.request.max_tokens &&
         !open.request.is_funding_final;
}

void PoolCore::tick(i64 now_ns) {
  router_.tick(now_ns);
  std::vector<u64> late;
  std::vector<u64> silent;
  for (auto& [id, attempt] : attempts_) {
    if (awaits_funds(attempt)) {
      // It is the payer who is silent; the pause is none of the supplier's speed.
      attempt.first_ns += now_ns - attempt.last_ns;
      attempt.last_ns = now_ns;
      continue;
    }
    i64 quiet = now_ns - attempt.last_ns;
    bool is_first = attempt.first_ns == 0;
    if (quiet > (is_first ? settings_.first_token_ns_max : settings_.stall_ns_max)) {
      silent.push_back(id);
    } else if (is_first && attempt.hedge_ns > 0 && now_ns >= attempt.hedge_ns) {
      late.push_back(id);
    }
  }
  for (u64 id : late) hedge(id, now_ns);
  for (u64 id : silent) {
    if (attempts_.contains(id)) give_up(id, "is silent", now_ns);
  }
  pump(now_ns);
}

void PoolCore::end_all(i64 now_ns) {
  std::vector<u64> ids;
  for (const auto& [id, open] : requests_) ids.push_back(id);
  for (u64 id : ids) {
    Open& open = requests_.at(id);
    open.is_cancelled = true;
    for (u64 attempt : std::vector<u64>(open.attempts)) {
      orders_.push_back({.kind = PoolOrder::Kind::kCancel,
                         .supplier = attempts_.at(attempt).supplier,
                         .attempt = attempt});
      close(attempt, {}, true, Outcome::kUndecided, now_ns);
    }
    finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
}

PoolCore::MemberStatus PoolCore::member_status(u32 supplier) const {
  const Member& member = members_[supplier];
  const SupplierView& view = router_.pool().at(supplier);
  const Standing& standing = router_.standing(supplier);
  const InFlight& in_flight = router_.in_flight();
  return {.name = member.facts.name,
          .zone = member.facts.zone,
          .health = view.health,
          .open = in_flight.open(supplier),
          .waiting = view.waiting,
          .disputes = standing.disputes(),
          .attempts = member.attempts,
          .failures = member.failures,
          .tokens = member.tokens,
          .last_dispute = standing.last_dispute(),
          .first_correction = in_flight.prompt_factor(supplier),
          .rate_correction = in_flight.decode_factor(supplier),
          .step = view.step,
          .running_max = view.running_max};
}

std::string PoolCore::explain(const fleet::SupplyRequest& request, i64 now_ns) {
  return to_json(router_.explain(ask_of(request), now_ns), names_);
}

fleet::SupplierLoad PoolCore::load() const {
  fleet::SupplierLoad all;
  all.is_up = false;
  all.waiting = waiting();
  for (u32 i = 0; i < members_.size(); ++i) {
    const fleet::SupplierLoad& one = members_[i].load;
    const SupplierView& view = router_.pool().at(i);
    all.running += view.running;
    all.waiting += view.waiting;
    all.kv_pages_total += one.kv_pages_total;
    all.kv_pages_free += one.kv_pages_free;
    all.context_max = std::max(all.context_max, one.context_max);
    all.steps += one.steps;
    all.prompt_tokens += one.prompt_tokens;
    all.cached_tokens += one.cached_tokens;
    all.output_tokens += one.output_tokens;
    all.slots += one.slots;
    all.energy.request_joules += one.energy.request_joules;
    all.energy.idle_joules += one.energy.idle_joules;
    // As uncertain as its least certain part.
    bool is_first = all.energy.source == fleet::EnergySource::kNone;
    if (one.energy.source != fleet::EnergySource::kNone)
      all.energy.source =
          is_first ? one.energy.source : std::min(all.energy.source, one.energy.source);
    bool is_open = view.health == Health::kUp || view.health == Health::kSuspect;
    all.is_up = all.is_up || is_open;
  }
  return all;
}

}  // namespace tg::dispatch
