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
constexpr f64 kOutputLearning = 0.05;
constexpr std::size_t kFailuresShown = 300;
// Claims may exceed our count by the end-of-generation token, which engines count and do not send.
constexpr i64 kClaimSlack = 1;

bool contains(const std::vector<u32>& list, u32 value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

// What choose() reads, and what it borrows.
struct PoolCore::Asked {
  RouteRequest request;
  std::vector<u32> allow;
  std::vector<u32> deny;
  std::vector<u32> cached_tokens;
  CachedPrefix cached;
  bool is_impossible = false;  // it allows only suppliers or zones that are not here
};

PoolCore::PoolCore(PoolSettings settings)
    : settings_(std::move(settings)), prefixes_(settings_.prefix_entries_max) {}

u32 PoolCore::zone_of(const std::string& name) {
  for (u32 i = 0; i < zones_.size(); ++i) {
    if (zones_[i] == name) return i;
  }
  // Zones beyond what a mask holds share its last bit.
  if (zones_.size() < kZonesMax) zones_.push_back(name);
  return static_cast<u32>(zones_.size()) - 1;
}

u32 PoolCore::join(const PoolSupplier& supplier, i64 now_ns) {
  for (u32 i = 0; i < names_.size(); ++i) {
    if (names_[i] != supplier.name) continue;
    members_[i].facts = supplier;
    members_[i].is_gone = false;
    publish(i, now_ns);
    dispatch_waiting(now_ns);
    return i;
  }
  members_.push_back(
      Member{.facts = supplier, .load = {}, .breaker = Breaker(settings_.breaker), .trust = {}});
  names_.push_back(supplier.name);
  u32 index = view_.add(SupplierView{});
  publish(index, now_ns);
  dispatch_waiting(now_ns);
  return index;
}

void PoolCore::leave(u32 supplier, i64 now_ns) {
  TG_ASSERT(supplier < members_.size());
  members_[supplier].is_gone = true;
  prefixes_.forget(supplier);
  publish(supplier, now_ns);
  std::vector<u64> left;
  for (const auto& [id, attempt] : attempts_) {
    if (attempt.supplier == supplier) left.push_back(id);
  }
  for (u64 id : left) give_up(id, "left the pool", now_ns);
}

void PoolCore::report(u32 supplier, const fleet::SupplierLoad& load, i64 now_ns) {
  TG_ASSERT(supplier < members_.size());
  Member& member = members_[supplier];
  bool was_up = member.load.is_up;
  member.load = load;
  if (was_up && !load.is_up) prefixes_.forget(supplier);
  in_flight_.reported(supplier,
                      {.made_ns = now_ns,
                       .running = std::max<i64>(0, load.running),
                       .waiting = std::max<i64>(0, load.waiting)},
                      now_ns);
  publish(supplier, now_ns);
}

// What the view says of a supplier, from its own words, ours and what has happened.
void PoolCore::publish(u32 supplier, i64 now_ns) {
  Member& member = members_[supplier];
  SupplierView view = view_.at(supplier);
  view.health = Health::kUp;
  if (member.trust.is_suspect(now_ns)) view.health = Health::kSuspect;
  Breaker::State breaker = member.breaker.state(now_ns);
  bool is_left_alone = breaker == Breaker::State::kOpen || breaker == Breaker::State::kOnTrial;
  if (member.load.is_draining) view.health = Health::kDraining;
  if (member.is_gone || !member.load.is_up || is_left_alone) view.health = Health::kDown;
  view.zone = static_cast<u16>(zone_of(member.facts.zone));
  view.rtt_ns = member.facts.rtt_ns;
  view.step = member.trust.corrected(member.load.step, member.facts.step);
  view.price = member.facts.price;
  view.power = member.facts.power;
  view.ttft_band = member.trust.first_band();
  view.tpot_band = member.trust.rate_band();
  view.context_max = std::max<i64>(0, member.load.context_max);
  if (member.load.slots > 0) view.running_max = member.load.slots;
  if (member.facts.requests_max > 0) view.running_max = member.facts.requests_max;
  in_flight_.set_facts(supplier, view);
}

void PoolCore::submit(fleet::SupplyRequest request, i64 now_ns) {
  ++counters_.requests;
  u64 id = request.id;
  ++open_by_account_[request.cache_salt];
  Open open;
  open.funded_tokens = request.funded_tokens;
  open.request = std::move(request);
  open.arrived_ns = now_ns;
  open.keys = prefix_keys(open.request.prompt, open.request.cache_salt);
  auto [entry, is_new] = requests_.emplace(id, std::move(open));
  TG_ASSERT(is_new);
  if (static_cast<i64>(waiting_.size()) >= settings_.waiting_max) {
    return finish(entry->second, FinishReason::kError,
                  fmt::format("{} requests wait for suppliers already", waiting_.size()),
                  fleet::Fault::kBusy, now_ns);
  }
  // Whoever waits came first.
  if (waiting_.empty()) return dispatch_or_wait(entry->second, now_ns);
  ++counters_.held;
  waiting_.push_back(id);
  dispatch_waiting(now_ns);
}

void PoolCore::ask(const Open& open, i64 now_ns, Asked& asked) {
  const fleet::SupplyRequest& r = open.request;
  const fleet::RouteWishes& wishes = r.wishes;
  i64 done = static_cast<i64>(open.delivered.size());
  i64 left = std::max<i64>(1, r.max_tokens - done);
  RouteRequest& route = asked.request;
  route.prompt_tokens = static_cast<i64>(r.prompt.size()) + done;
  route.output_tokens =
      std::clamp<i64>(static_cast<i64>(output_share_ * static_cast<f64>(left)), 1, left);
  route.output_tokens_p90 = left;
  route.service = r.service;
  route.session = r.cache_salt;
  route.waited_ns = now_ns - open.arrived_ns;
  route.wishes.price_max = static_cast<f64>(wishes.price_max_ucredit) * kNanoPerMicro;
  route.wishes.ttft_target_ns = r.deadline_ns;
  route.wishes.tpot_target_ns = wishes.tpot_target_ns;
  route.wishes.energy_weight = wishes.energy_weight * kNanoPerMicro;
  if (!wishes.zone.empty()) {
    std::vector<std::string>::const_iterator zone =
        std::find(zones_.begin(), zones_.end(), wishes.zone);
    asked.is_impossible = zone == zones_.end();
    if (!asked.is_impossible) route.wishes.zones = u64{1} << (zone - zones_.begin());
  }
  for (u32 i = 0; i < names_.size(); ++i) {
    auto named = [&](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), names_[i]) != list.end();
    };
    if (named(wishes.allow)) asked.allow.push_back(i);
    if (named(wishes.deny) || contains(open.tried, i)) asked.deny.push_back(i);
  }
  asked.is_impossible = asked.is_impossible || (!wishes.allow.empty() && asked.allow.empty());
  route.wishes.allow = asked.allow;
  route.wishes.deny = asked.deny;
  asked.cached = prefixes_.find(open.keys, view_.size(), asked.cached_tokens);
}

Choice PoolCore::decide(const Open& open, i64 now_ns, Asked& asked) {
  ask(open, now_ns, asked);
  if (asked.is_impossible) {
    Choice none;
    none.excluded[static_cast<std::size_t>(Excluded::kDenied)] = view_.size();
    return none;
  }
  Moment moment{
      .now_ns = now_ns, .sequence = sequence_++, .random = attempt_next_ * 0x9e3779b97f4a7c15ull};
  return choose(settings_.policy, asked.request, view_, asked.cached, settings_.route, moment);
}

// False if it has to wait.
bool PoolCore::dispatch(Open& open, i64 now_ns) {
  Asked asked;
  Choice choice = decide(open, now_ns, asked);
  bool may_mend = !open.tried.empty() && choice.verdict == Verdict::kRefuse && !asked.is_impossible;
  if (may_mend) {
    // Everybody else is out: those that failed may have been unlucky.
    open.tried.clear();
    asked = {};
    choice = decide(open, now_ns, asked);
  }
  if (choice.verdict == Verdict::kHold) return false;
  if (choice.verdict == Verdict::kSend) {
    send(open, choice, asked, now_ns);
    return true;
  }
  auto count = [&](Excluded why) { return choice.excluded[static_cast<std::size_t>(why)]; };
  bool may_return = count(Excluded::kDown) + count(Excluded::kDraining) + count(Excluded::kNo) > 0;
  if (may_return && now_ns - open.arrived_ns < settings_.absence_ns_max) return false;
  refuse(open, choice, may_return, now_ns);
  return true;
}

void PoolCore::refuse(Open& open, const Choice& choice, bool may_return, i64 now_ns) {
  ++counters_.refused;
  open.route = route_header(settings_.policy, choice, names_);
  bool is_for_good = !may_return && open.failures.empty();
  std::string why = open.failures.empty() ? "no supplier may serve this request: " + open.route
                                          : "suppliers failed: " + open.failures;
  finish(open, FinishReason::kError, std::move(why),
         is_for_good ? fleet::Fault::kInvalid : fleet::Fault::kBusy, now_ns);
}

void PoolCore::send(Open& open, const Choice& choice, Asked& asked, i64 now_ns) {
  u64 id = attempt_next_++;
  i64 done = static_cast<i64>(open.delivered.size());
  Attempt attempt;
  attempt.request = open.request.id;
  attempt.supplier = choice.supplier;
  attempt.sent_ns = now_ns;
  attempt.last_ns = now_ns;
  attempt.prompt_tokens = asked.request.prompt_tokens;
  attempt.tpot_ns = choice.forecast.tpot_ns;
  if (choice.hedge_after_ns > 0) attempt.hedge_ns = now_ns + choice.hedge_after_ns;
  PoolOrder order;
  order.supplier = choice.supplier;
  order.attempt = id;
  order.request = open.request;
  order.request.id = id;
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
  in_flight_.sent(id, choice.supplier, asked.request, choice.forecast, now_ns);
  prefixes_.insert(open.keys, choice.supplier);
  Member& member = members_[choice.supplier];
  member.breaker.sent(now_ns);
  ++member.open;
  ++member.attempts;
  publish(choice.supplier, now_ns);
  ++open.sends;
  open.tried.push_back(choice.supplier);
  open.attempts.push_back(id);
  open.route = route_header(settings_.policy, choice, names_);
  if (open.sends > 1) {
    open.route += fmt::format("; attempt={}", open.sends);
    if (!open.failures.empty()) open.route += "; after=" + open.failures;
  }
  attempt.route = open.route;
  attempts_.emplace(id, std::move(attempt));
  orders_.push_back(std::move(order));
}

void PoolCore::cancel(u64 id, i64 now_ns) {
  std::unordered_map<u64, Open>::iterator found = requests_.find(id);
  if (found == requests_.end() || found->second.is_cancelled) return;
  Open& open = found->second;
  open.is_cancelled = true;
  if (open.attempts.empty()) {
    std::erase(waiting_, id);
    return finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
  for (u64 attempt : open.attempts) {
    orders_.push_back({.kind = PoolOrder::Kind::kCancel,
                       .supplier = attempts_.at(attempt).supplier,
                       .attempt = attempt});
  }
}

void PoolCore::extend(u64 id, i64 funded_tokens) {
  std::unordered_map<u64, Open>::iterator found = requests_.find(id);
  if (found == requests_.end() || funded_tokens <= found->second.funded_tokens) return;
  Open& open = found->second;
  open.funded_tokens = funded_tokens;
  for (u64 id_of : open.attempts) {
    const Attempt& attempt = attempts_.at(id_of);
    i64 before = attempt.prompt_tokens - static_cast<i64>(open.request.prompt.size());
    orders_.push_back({.kind = PoolOrder::Kind::kExtend,
                       .supplier = attempt.supplier,
                       .attempt = id_of,
                       .request = {},
                       .funded_tokens = funded_tokens - before});
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
  if (attempt.first_ns == 0) {
    attempt.first_ns = now_ns;
    FirstToken first = in_flight_.first_token(id, now_ns);
    Member& member = members_[attempt.supplier];
    member.trust.measured_first(first.predicted_ns, first.measured_ns);
    publish(attempt.supplier, now_ns);
    if (open.attempts.size() > 1) win(open, id, now_ns);
  }
  // Nobody pays for more than was asked for, whatever a supplier sends.
  i64 room = open.request.max_tokens - static_cast<i64>(open.delivered.size());
  if (static_cast<i64>(event.tokens.size()) > room) {
    event.tokens.resize(static_cast<std::size_t>(std::max<i64>(0, room)));
    if (event.logprobs.size() > event.tokens.size()) event.logprobs.resize(event.tokens.size());
    if (event.top_logprobs.size() > event.tokens.size())
      event.top_logprobs.resize(event.tokens.size());
    if (members_[attempt.supplier].trust.last_dispute() != "sends more tokens than asked for")
      ++counters_.disputes;
    members_[attempt.supplier].trust.dispute("sends more tokens than asked for", now_ns);
  }
  if (event.tokens.empty()) return;
  attempt.tokens += static_cast<i64>(event.tokens.size());
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
  dispatch_waiting(now_ns);
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
    Attempt lost = close(id, {}, false, now_ns);
    members_[lost.supplier].breaker.undecided();
    publish(lost.supplier, now_ns);
  }
  if (!losers.empty()) open.route = attempts_.at(winner).route + "; hedged";
}

PoolCore::Attempt PoolCore::close(u64 id, const fleet::SupplierEvent& event, bool is_served,
                                  i64 now_ns) {
  std::unordered_map<u64, Attempt>::iterator found = attempts_.find(id);
  TG_ASSERT(found != attempts_.end());
  Attempt attempt = std::move(found->second);
  attempts_.erase(found);
  in_flight_.ended(id, attempt.tokens, now_ns);
  Member& member = members_[attempt.supplier];
  --member.open;
  std::erase(requests_.at(attempt.request).attempts, id);
  std::string dispute = event.dispute;
  bool has_usage = event.kind == Kind::kFinished && event.usage.output_tokens > 0;
  if (dispute.empty() && has_usage && event.usage.output_tokens > attempt.tokens + kClaimSlack) {
    dispute =
        fmt::format("claims {} output tokens, {} came", event.usage.output_tokens, attempt.tokens);
  }
  if (!dispute.empty()) {
    ++counters_.disputes;
    member.trust.dispute(dispute, now_ns);
  }
  bool has_rate = attempt.tokens > 4 && attempt.tpot_ns > 0;
  if (has_rate) {
    f64 span = static_cast<f64>(attempt.last_ns - attempt.first_ns);
    member.trust.measured_rate(attempt.tpot_ns, span / static_cast<f64>(attempt.tokens - 1));
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
  publish(attempt.supplier, now_ns);
  return attempt;
}

void PoolCore::take_end(u64 id, fleet::SupplierEvent event, i64 now_ns) {
  Open& open = requests_.at(attempts_.at(id).request);
  bool was_asked = open.is_cancelled && event.reason == FinishReason::kCancelled;
  bool is_failure = event.reason == FinishReason::kError ||
                    (event.reason == FinishReason::kCancelled && !was_asked);
  Attempt attempt = close(id, event, !is_failure, now_ns);
  Member& member = members_[attempt.supplier];
  if (is_failure) {
    if (event.reason == FinishReason::kCancelled) event.error = "ended the request unasked";
    fail(open, attempt.supplier, event, now_ns);
  } else {
    if (was_asked) {
      member.breaker.undecided();
    } else {
      member.breaker.succeeded();
      f64 share = static_cast<f64>(open.delivered.size()) /
                  static_cast<f64>(std::max<i64>(1, open.request.max_tokens));
      output_share_ += kOutputLearning * (std::min(1.0, share) - output_share_);
    }
    event.supplier = names_[attempt.supplier];
    publish(attempt.supplier, now_ns);
    for (u64 other : std::vector<u64>(open.attempts)) {
      orders_.push_back({.kind = PoolOrder::Kind::kCancel,
                         .supplier = attempts_.at(other).supplier,
                         .attempt = other});
      close(other, {}, false, now_ns);
    }
    deliver_end(open, std::move(event), now_ns);
  }
  dispatch_waiting(now_ns);
}

void PoolCore::fail(Open& open, u32 supplier, const fleet::SupplierEvent& event, i64 now_ns) {
  Member& member = members_[supplier];
  ++member.failures;
  if (event.fault == fleet::Fault::kBroken) {
    member.breaker.failed(now_ns);
  } else {
    member.breaker.undecided();
  }
  publish(supplier, now_ns);
  if (open.is_cancelled) {
    if (!open.attempts.empty()) return;
    return finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
  std::string failure = names_[supplier] + ": " + event.error;
  if (open.failures.size() < kFailuresShown)
    open.failures += (open.failures.empty() ? "" : ", ") + failure.substr(0, kFailuresShown / 2);
  // A hedge may still make it.
  if (!open.attempts.empty()) return;
  i64 left = open.request.max_tokens - static_cast<i64>(open.delivered.size());
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
  ++(open.delivered.empty() ? counters_.retries : counters_.continuations);
  if (!open.delivered.empty()) {
    std::vector<TokenId> all = open.request.prompt;
    all.insert(all.end(), open.delivered.begin(), open.delivered.end());
    open.keys = prefix_keys(all, open.request.cache_salt);
  }
  dispatch_or_wait(open, now_ns);
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
  i64 prompt = static_cast<i64>(open.request.prompt.size());
  event.request = open.request.id;
  event.usage.prompt_tokens = prompt;
  event.usage.cached_tokens = std::clamp<i64>(event.usage.cached_tokens, 0, prompt);
  event.usage.output_tokens = static_cast<i64>(open.delivered.size());
  event.usage.total_ns = now_ns - open.arrived_ns;
  event.usage.first_token_ns = open.first_ns == 0 ? 0 : open.first_ns - open.arrived_ns;
  event.is_estimated = event.is_estimated || open.is_estimated;
  event.route = open.route;
  event.dispute.clear();
  u64 id = open.request.id;
  deliveries_.push_back({open.request.events, std::move(event)});
  std::unordered_map<u64, i64>::iterator account = open_by_account_.find(open.request.cache_salt);
  if (--account->second == 0) open_by_account_.erase(account);
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

// The best class first; within it the account with the fewest open requests; then who came first.
// One that must wait does not keep back others, which may have other wishes, but after a few of
// them nobody is free.
void PoolCore::dispatch_waiting(i64 now_ns) {
  if (waiting_.empty()) return;
  constexpr i64 kHeldInARowMax = 8;
  struct Place {
    fleet::ServiceClass service;
    i64 open;
    std::size_t position;
    u64 id;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> order;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const fleet::SupplyRequest& r = requests_.at(waiting_[i]).request;
    order.push_back({r.service, open_by_account_[r.cache_salt], i, waiting_[i]});
  }
  std::sort(order.begin(), order.end());
  i64 held = 0;
  for (const Place& place : order) {
    if (dispatch(requests_.at(place.id), now_ns)) {
      std::erase(waiting_, place.id);
      held = 0;
    } else if (++held >= kHeldInARowMax) {
      return;
    }
  }
}

void PoolCore::dispatch_or_wait(Open& open, i64 now_ns) {
  u64 id = open.request.id;
  if (dispatch(open, now_ns)) return;
  ++counters_.held;
  waiting_.push_back(id);
}

void PoolCore::hedge(u64 id, i64 now_ns) {
  Attempt& attempt = attempts_.at(id);
  attempt.hedge_ns = 0;
  Open& open = requests_.at(attempt.request);
  bool may = !open.is_hedged && !open.is_cancelled && open.attempts.size() == 1 &&
             (counters_.hedges + 1) * 1'000'000 <=
                 static_cast<u64>(settings_.hedges_ppm_max) * counters_.requests + 1'000'000;
  if (!may) return;
  Asked asked;
  Choice choice = decide(open, now_ns, asked);
  if (choice.verdict != Verdict::kSend) return;
  open.is_hedged = true;
  ++counters_.hedges;
  choice.hedge_after_ns = 0;
  send(open, choice, asked, now_ns);
}

void PoolCore::tick(i64 now_ns) {
  for (u32 i = 0; i < members_.size(); ++i) publish(i, now_ns);
  std::vector<u64> late;
  std::vector<u64> silent;
  for (const auto& [id, attempt] : attempts_) {
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
  dispatch_waiting(now_ns);
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
      close(attempt, {}, true, now_ns);
    }
    finish(open, FinishReason::kCancelled, "", fleet::Fault::kBroken, now_ns);
  }
  waiting_.clear();
}

PoolCore::MemberStatus PoolCore::member_status(u32 supplier) const {
  const Member& member = members_[supplier];
  return {.name = member.facts.name,
          .zone = member.facts.zone,
          .health = view_.at(supplier).health,
          .open = member.open,
          .waiting = view_.at(supplier).waiting,
          .disputes = member.trust.disputes(),
          .attempts = member.attempts,
          .failures = member.failures,
          .tokens = member.tokens,
          .last_dispute = member.trust.last_dispute(),
          .first_correction = member.trust.first_correction(),
          .rate_correction = member.trust.rate_correction()};
}

std::string PoolCore::explain(const fleet::SupplyRequest& request, i64 now_ns) {
  Open open;
  open.request = request;
  open.arrived_ns = now_ns;
  open.keys = prefix_keys(request.prompt, request.cache_salt);
  Asked asked;
  ask(open, now_ns, asked);
  Moment moment{.now_ns = now_ns, .sequence = sequence_, .random = 0};
  return to_json(dispatch::explain(settings_.policy, asked.request, view_, asked.cached,
                                   settings_.route, moment),
                 names_);
}

fleet::SupplierLoad PoolCore::load() const {
  fleet::SupplierLoad all;
  all.is_up = false;
  all.waiting = waiting();
  for (u32 i = 0; i < members_.size(); ++i) {
    const fleet::SupplierLoad& one = members_[i].load;
    const SupplierView& view = view_.at(i);
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
    bool is_open = view.health == Health::kUp || view.health == Health::kSuspect;
    all.is_up = all.is_up || is_open;
  }
  return all;
}

}  // namespace tg::dispatch
