#include "market/lifecycle/request_life.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::market {

namespace {

using ledger::TransferStatus;

i64 amount_of(std::span<const HeldPart> parts) {
  u128 total = sum(held_draws(parts));
  TG_ASSERT(total <= static_cast<u128>(kChargeMax));
  return static_cast<i64>(total);
}

// The status that broke a chain; kOk if none did.
TransferStatus failure_of(std::span<const TransferStatus> statuses) {
  for (TransferStatus status : statuses) {
    if (!ledger::succeeded(status) && status != TransferStatus::kLinkedEventFailed) return status;
  }
  return TransferStatus::kOk;
}

bool is_for_lack_of_funds(TransferStatus status) {
  return status == TransferStatus::kExceedsCredits || status == TransferStatus::kIdAlreadyFailed ||
         status == TransferStatus::kDebitAccountClosed ||
         status == TransferStatus::kDebitAccountNotFound;
}

void grow(OutputReading& reading, const OutputReading& to) {
  reading.output = std::max(reading.output, to.output);
  reading.reasoning = std::max(reading.reasoning, to.reasoning);
}

// Consecutive captures from one account are one line of the record.
void record_paid(std::vector<Draw>& paid, std::span<const Draw> added) {
  for (const Draw& draw : added) {
    if (!paid.empty() && paid.back().account == draw.account) {
      paid.back().amount += draw.amount;
    } else {
      paid.push_back(draw);
    }
  }
}

// What remains held of `parts` once `paid` is taken, accounts in their order.
std::vector<Draw> carried_over(std::span<const HeldPart> parts, std::span<const Draw> paid) {
  std::vector<Draw> out = held_draws(parts);
  for (const Draw& draw : paid) {
    for (Draw& part : out) {
      if (part.account == draw.account) part.amount -= draw.amount;
    }
  }
  std::erase_if(out, [](const Draw& draw) { return draw.amount == 0; });
  return out;
}

i64 cap_of(const LifeTerms& terms, const RequestRate& rate) {
  return std::min(terms.max_cost, rate.most(rate.output_max()));
}

i64 target_of(const LifeTerms& terms, const RequestRate& rate) {
  i64 cap = cap_of(terms, rate);
  switch (terms.mode) {
    case HoldMode::kGuaranteed: return cap;
    case HoldMode::kBestEffort: return std::min(cap, std::max<i64>(rate.most(0), 1));
    case HoldMode::kSliced: break;
  }
  i64 one_token = rate.most(std::min<i64>(1, rate.output_max()));
  i64 slice = std::min(terms.slice_min, kChargeMax);
  return std::min(cap, std::max(rate.most(0) + slice, one_token));
}

}  // namespace

std::string_view name(HoldMode mode) {
  switch (mode) {
    case HoldMode::kSliced: return "sliced";
    case HoldMode::kGuaranteed: return "guaranteed";
    case HoldMode::kBestEffort: return "best_effort";
  }
  return "unknown";
}

std::optional<HoldMode> hold_mode_by_name(std::string_view text) {
  for (HoldMode mode : {HoldMode::kSliced, HoldMode::kGuaranteed, HoldMode::kBestEffort}) {
    if (name(mode) == text) return mode;
  }
  return std::nullopt;
}

LifeQuote quote_life(const LifeTerms& terms, const RequestRate& rate, i64 output_expected,
                     Timestamp now) {
  LifeQuote out;
  out.input = rate.most(0);
  out.expected = rate.most(std::clamp<i64>(output_expected, 0, rate.output_max()));
  out.maximum = rate.most(rate.output_max());
  out.first_hold = target_of(terms, rate);
  out.edge_max = std::max<i64>(0, rate.tokens_within(cap_of(terms, rate)));
  OutputReading expected{.output = std::clamp<i64>(output_expected, 0, rate.output_max())};
  out.views = rate.views_of(out.expected, {.prompt = rate.prompt()}, expected);
  out.expires = Timestamp{now.ns + kQuoteValidNs};
  return out;
}

RequestLife::RequestLife(LifeTerms terms, RequestRate rate)
    : terms_(std::move(terms)), rate_(rate), cap_(cap_of(terms_, rate)) {
  TG_ASSERT(terms_.max_cost >= 0 && terms_.slice_min > 0);
  terms_.hold.timeout_ms = kHoldLapsesMs;
  input_.prompt = rate_.prompt();
}

// --- events -------------------------------------------------------------------------------------

Chain RequestLife::open(const View& view) {
  TG_ASSERT(state_ == State::kQuoted && !waits());
  if (opening_least() > cap_) return refuse();
  i64 target = opening_target();
  if (target == 0) {  // Everything is free: there is nothing to hold.
    state_ = State::kOpen;
    was_admitted_ = true;
    find_edge();
    return {};
  }
  std::vector<Draw> draws = plan(view, target, {});
  if (sum(draws) < static_cast<u128>(std::max<i64>(opening_least(), 1))) return refuse();
  Flight flight{.kind = Kind::kOpen};
  flight.parts = append_holds(terms_.hold, {.slice = slice_, .attempt = attempt_}, draws,
                              view.funding.limits, flight.chain);
  return launch(std::move(flight), view);
}

Chain RequestLife::answer(std::span<const TransferStatus> statuses, const View& view) {
  TG_ASSERT(waits() && statuses.size() == flight_->chain.size());
  Flight flight = std::move(*flight_);
  flight_.reset();
  if (flight.kind == Kind::kDrop) {
    state_ = State::kClosed;
    return {};
  }
  TransferStatus failure = failure_of(statuses);
  if (failure != TransferStatus::kOk) return crash_land(flight, failure, view);
  land(flight);
  return proceed(view);
}

void RequestLife::input_read(const InputReading& input) {
  TG_ASSERT(input.prompt == rate_.prompt());
  bool is_possible = input.cached >= 0 && input.written >= 0 && input.cached <= input.prompt &&
                     input.written <= input.prompt - input.cached;
  if (is_possible && !is_closing()) input_ = input;
}

Chain RequestLife::reprice(const PriceVector& prices, u64 reference, const View& view) {
  if (is_closing()) return {};
  OutputReading at = produced_;
  grow(at, delivered_);
  if (!rate_.reprice(at, prices).ok()) return {};
  terms_.hold.reference = reference;
  // Not lowered: what is held or under way was within it.
  cap_ = std::min(terms_.max_cost, std::max(cap_, rate_.most(rate_.output_max())));
  if (state_ == State::kOpen) find_edge();
  return proceed(view);
}

Chain RequestLife::produced(const OutputReading& reading, const View& view) {
  if (is_closing()) return {};
  refusals_ = 0;
  grow(produced_, reading);
  if (first_token_ns_ == 0 && produced_.total() > 0) first_token_ns_ = view.now.ns;
  return proceed(view);
}

Chain RequestLife::delivered(const OutputReading& reading, const View& view) {
  if (is_closing()) return {};
  grow(delivered_, reading);
  return produced(reading, view);
}

Chain RequestLife::tick(const View& view) {
  refusals_ = 0;
  return proceed(view);
}

Chain RequestLife::end(EndCause cause, const View& view) {
  TG_ASSERT(cause != EndCause::kNone);
  if (is_closing()) return {};
  cause_ = prevailing(cause_, cause);
  if (state_ == State::kQuoted && !waits()) state_ = State::kClosed;
  return proceed(view);
}

Chain RequestLife::finish(const Final& last, const View& view) {
  // Of a hold that lapsed, what was delivered is still to be told, if not to be paid.
  if (is_closing() && !has_lapsed_) return {};
  TG_ASSERT(last.input.prompt == rate_.prompt());
  input_ = last.input;
  // While tokens flowed, their division was not known for good.
  if (last.delivered.total() >= delivered_.total()) delivered_ = last.delivered;
  produced_ = delivered_;
  if (is_closing()) return {};
  return end(last.cause, view);
}

// From here on the outcome stands: what comes later changes neither it nor the charge.
bool RequestLife::is_closing() const {
  return is_closed() ||
         (waits() && (flight_->kind == Kind::kClose || flight_->kind == Kind::kDrop));
}

// --- what to do next ----------------------------------------------------------------------------

Chain RequestLife::proceed(const View& view) {
  if (waits() || state_ != State::kOpen) return {};
  if (is_ready_to_close()) return close(view);
  if (cause_ == EndCause::kNone && refusals_ < kPlanAttemptsMax && needs_growth(view)) {
    Chain chain = roll(view, true);
    if (!chain.empty()) return chain;
  }
  if (needs_renewal(view)) return roll(view, false);
  if (!terms_.ends_at_edge || !is_at_final_edge()) return {};
  cause_ = EndCause::kFundsEnd;
  return close(view);
}

bool RequestLife::is_ready_to_close() const {
  switch (cause_) {
    case EndCause::kNone: return false;
    case EndCause::kStop:
    case EndCause::kEmpty:
    case EndCause::kLength: return delivered_.total() >= produced_.total();
    default: return true;
  }
}

// All that can be paid has been delivered, and the request wants more.
bool RequestLife::is_at_final_edge() const {
  if (cause_ != EndCause::kNone || edge_ >= rate_.output_max()) return false;
  return delivered_.total() >= edge_ && (authorised_ >= cap_ || funds_ended_);
}

bool RequestLife::lacks_funds() const {
  return funds_ended_ && authorised_ < cap_ && edge_ < rate_.output_max();
}

bool RequestLife::is_edge_final() const {
  return edge_ >= rate_.output_max() || authorised_ >= cap_ || funds_ended_;
}

bool RequestLife::needs_growth(const View& view) const {
  if (authorised_ >= cap_ || parts_.empty()) return false;
  if (terms_.mode == HoldMode::kBestEffort && seen() == 0) return false;
  i64 remaining = authorised_ - rate_.most(seen());
  return remaining <= std::max(slice_growth_, slice_amount(view)) / kRefreshDivisor;
}

bool RequestLife::needs_renewal(const View& view) const {
  return !parts_.empty() && view.now.ns - held_at_ns_ >= kHoldRenewNs;
}

i64 RequestLife::slice_amount(const View& view) const {
  i64 elapsed = view.now.ns - first_token_ns_;
  i64 now = seen();
  if (now == 0 || elapsed <= 0) return terms_.slice_min;
  i128 ahead = static_cast<i128>(now) * kSliceAheadNs / elapsed;
  i64 reach = static_cast<i64>(std::min<i128>(rate_.output_max(), now + ahead));
  return std::max(terms_.slice_min, rate_.most(reach) - rate_.most(std::min(now, reach)));
}

i64 RequestLife::seen() const {
  return std::min(std::max(produced_.total(), delivered_.total()), rate_.output_max());
}

i64 RequestLife::opening_target() const {
  return target_of(terms_, rate_);
}

// Below this, nothing that could be delivered would be paid.
i64 RequestLife::opening_least() const {
  if (terms_.mode == HoldMode::kGuaranteed) return cap_;
  if (terms_.mode == HoldMode::kBestEffort) return rate_.most(0);
  return rate_.most(std::min<i64>(1, rate_.output_max()));
}

std::vector<Draw> RequestLife::plan(const View& view, i64 extra, std::span<const Draw> held) const {
  std::vector<const FundingSource*> ordered = burn_order(
      view.funding.sources, {.model = terms_.model, .service = terms_.service, .now = view.now});
  u128 wanted = within_limits(view.funding.limits, static_cast<u128>(extra));
  return allocate(ordered, wanted, held);
}

// Posts what was delivered and reserves the next slice, in one chain.
Chain RequestLife::roll(const View& view, bool grows) {
  // How the prompt was served may become known later: what is posted now must still be due then.
  i64 due = std::min(rate_.sure_charge(delivered_.total()), authorised_);
  Flight flight{.kind = Kind::kRoll, .post = std::max<i64>(0, due - posted_)};
  flight.paid = append_resolutions(terms_.hold, {.slice = slice_, .attempt = attempt_}, parts_,
                                   static_cast<u128>(flight.post), flight.chain);
  std::vector<Draw> carried = carried_over(parts_, flight.paid);
  i64 behind = std::max<i64>(0, rate_.most(seen()) - authorised_);
  i64 next_token = rate_.most(std::min(edge_ + 1, rate_.output_max())) - authorised_;
  i64 wanted = std::max(behind + slice_amount(view), next_token);
  i64 extra = grows ? std::min(cap_ - authorised_, wanted) : 0;
  std::vector<Draw> draws = plan(view, extra, carried);
  if (grows) {
    // Growth that buys no further token would be a chain for nothing.
    i64 grown = static_cast<i64>(sum(draws) - sum(carried));
    bool runs_ahead = terms_.mode == HoldMode::kBestEffort;
    funds_ended_ = grown == 0 || (!runs_ahead && rate_.tokens_within(authorised_ + grown) <= edge_);
  }
  bool is_idle = sum(draws) == 0 && flight.post == 0;
  if ((grows && funds_ended_) || is_idle) {
    find_edge();
    return {};
  }
  if (sum(draws) > 0) {
    flight.parts = append_holds(terms_.hold, {.slice = slice_ + 1, .attempt = attempt_}, draws,
                                view.funding.limits, flight.chain);
  }
  return launch(std::move(flight), view);
}

Chain RequestLife::close(const View& view) {
  TG_ASSERT(cause_ != EndCause::kNone);
  if (parts_.empty()) {
    state_ = State::kClosed;
    return {};
  }
  i64 due = std::min(charge_of(outcome(), rate_, input_, delivered_), authorised_);
  Flight flight{.kind = Kind::kClose, .post = std::max<i64>(0, due - posted_)};
  flight.paid = append_resolutions(terms_.hold, {.slice = slice_, .attempt = attempt_}, parts_,
                                   static_cast<u128>(flight.post), flight.chain);
  return launch(std::move(flight), view);
}

// A hold is gone. What of its parts is not must not stay; one by one, because some are.
Chain RequestLife::drop(const View& view) {
  has_lapsed_ = true;
  cause_ = EndCause::kFault;
  authorised_ = posted_;
  Flight flight{.kind = Kind::kDrop};
  append_resolutions(terms_.hold, {.slice = slice_, .attempt = ++attempt_}, parts_, 0,
                     flight.chain);
  parts_.clear();
  flight.sent_ns = view.now.ns;
  flight_ = std::move(flight);
  return flight_->chain;
}

Chain RequestLife::refuse() {
  cause_ = prevailing(cause_, EndCause::kRefused);
  state_ = State::kClosed;
  return {};
}

Chain RequestLife::launch(Flight flight, const View& view) {
  link(flight.chain);
  flight.sent_ns = view.now.ns;
  flight_ = std::move(flight);
  return flight_->chain;
}

// --- what the ledger said -----------------------------------------------------------------------

void RequestLife::land(const Flight& flight) {
  i64 before = authorised_;
  posted_ += flight.post;
  record_paid(paid_, flight.paid);
  parts_ = flight.parts;
  held_at_ns_ = flight.sent_ns;
  if (flight.kind == Kind::kClose) {
    authorised_ = std::max(posted_, authorised_);
    state_ = State::kClosed;
    return;
  }
  authorised_ = posted_ + amount_of(parts_);
  TG_ASSERT(authorised_ >= before && authorised_ <= cap_);
  i64 grown = authorised_ - std::max(before, rate_.most(0));  // The input is no part of a slice.
  if (grown > 0) slice_growth_ = grown;
  if (flight.kind == Kind::kRoll) ++slice_;
  state_ = State::kOpen;
  was_admitted_ = true;
  if (first_hold_ == 0 && !parts_.empty()) first_hold_ = parts_.front().transfer;
  funds_ended_ = false;
  attempt_ = 0;
  refusals_ = 0;
  find_edge();
}

Chain RequestLife::crash_land(const Flight& flight, TransferStatus status, const View& view) {
  ++attempt_;
  ++refusals_;
  bool is_funds = is_for_lack_of_funds(status);
  if (flight.kind == Kind::kOpen) {
    if (cause_ != EndCause::kNone || !is_funds || refusals_ >= kPlanAttemptsMax) return refuse();
    return open(view);
  }
  if (flight.kind == Kind::kClose || !is_funds) return drop(view);
  if (refusals_ >= kPlanAttemptsMax) funds_ended_ = true;
  find_edge();
  return proceed(view);
}

void RequestLife::find_edge() {
  i64 paid_for = std::max<i64>(0, rate_.tokens_within(authorised_));
  bool runs_ahead = terms_.mode == HoldMode::kBestEffort && !funds_ended_;
  edge_ = runs_ahead ? std::max(seen(), rate_.tokens_within(cap_)) : std::max(paid_for, seen());
  // The best effort stops where it is when no hold follows any more.
  if (terms_.mode == HoldMode::kBestEffort && funds_ended_) edge_ = std::max(paid_for, seen());
}

// --- results ------------------------------------------------------------------------------------

meter::Outcome RequestLife::outcome() const {
  return outcome_of(
      {.cause = cause_, .was_admitted = was_admitted_, .delivered_tokens = delivered_.total()});
}

bool RequestLife::is_settling() const {
  return waits() && flight_->kind == Kind::kClose;
}

RequestLife::Bill RequestLife::bill() const {
  Bill out{.charge = posted_, .authorised = authorised_, .paid = paid_};
  if (flight_) {
    out.charge += flight_->post;
    record_paid(out.paid, flight_->paid);
  }
  if (!is_settling() && !is_closed()) out.authorised = out.charge;
  return out;
}

i64 RequestLife::charge() const {
  TG_ASSERT(is_closed());
  return posted_;
}

PriceViews RequestLife::views() const {
  return rate_.views_of(charge(), input_, delivered_);
}

Charged RequestLife::paid() const {
  TG_ASSERT(is_closed());
  return {.request = terms_.hold.request,
          .seller = terms_.hold.seller,
          .ledger = terms_.hold.ledger,
          .reference = terms_.hold.reference,
          .draws = paid_};
}

}  // namespace tg::market
