#include "gateway/till.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/json_out.h"
#include "base/log.h"
#include "ledger/id.h"

namespace tg::gateway {

namespace {

using market::Chain;
using market::EndCause;
using market::RequestLife;
using Status = BillingReply::Status;

constexpr i64 kTickNs = 1'000'000'000;
constexpr i64 kSweepNs = 10'000'000'000;
// A ledger that is away is asked again after this long, then after twice as long, up to the second;
// everything that waits for it at once.
constexpr i64 kAskAgainNsMin = 100'000'000;
constexpr i64 kAskAgainNsMax = 1'000'000'000;
constexpr const char* kAway = "the ledger is not available";
constexpr u32 kSweepAttemptsMax = 8;
constexpr u32 kLooksMax = 4;
constexpr std::size_t kMetersMax = 100'000;

BillingReply with_status(Status status, std::string message = {}) {
  BillingReply reply;
  reply.status = status;
  reply.message = std::move(message);
  return reply;
}

BillingReply failed(std::string message) {
  return with_status(Status::kFailed, std::move(message));
}

EndCause cause_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCompleted: return EndCause::kStop;
    case Outcome::kLength: return EndCause::kLength;
    case Outcome::kBudget: return EndCause::kFundsEnd;
    case Outcome::kBuyerAbort: return EndCause::kAbort;
    case Outcome::kSellerFault: return EndCause::kFault;
    case Outcome::kPreempted: return EndCause::kPreempted;
    case Outcome::kEmpty: return EndCause::kEmpty;
    case Outcome::kRejected: return EndCause::kRefused;
    case Outcome::kExpired: return EndCause::kDeadline;
  }
  return EndCause::kFault;
}

RequestLife::Final final_of(const HoldOpen& open, const HoldClose& close) {
  RequestLife::Final out{.cause = cause_of(close.outcome)};
  out.input.prompt = open.prompt_tokens;
  i64 cached = open.choice > 0 ? open.prompt_tokens : close.usage.cached_tokens;
  out.input.cached = std::clamp<i64>(cached, 0, open.prompt_tokens);
  out.input.written =
      std::clamp<i64>(close.written_tokens, 0, open.prompt_tokens - out.input.cached);
  i64 delivered = std::max<i64>(0, close.delivered_tokens);
  out.delivered.reasoning = std::clamp<i64>(close.reasoning_tokens, 0, delivered);
  out.delivered.output = delivered - out.delivered.reasoning;
  return out;
}

market::RateBook book_of(const TillOptions& options) {
  if (options.rates) return *options.rates;
  return market::RateBook::make({market::rate_card_of(options.tariff)}).value();
}

// Every account that the chain or the holds it resolves touch.
std::vector<u128> accounts_in(const Chain& chain, std::span<const market::HeldPart> parts) {
  std::vector<u128> out;
  auto add = [&](u128 id) {
    if (id != 0 && std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
  };
  for (const market::HeldPart& part : parts) add(part.account);
  for (const ledger::Transfer& t : chain) add(t.debit_account);
  return out;
}

}  // namespace

u128 run_id(const std::string& request_id, i64 choice) {
  return ledger::id_from_name(fmt::format("{}/{}", request_id, choice));
}

Till::Till(TillOptions options, Random& random)
    : options_(std::move(options)),
      rates_(book_of(options_)),
      random_(random),
      funds_(options_.plans) {
  for (const market::RateCard& card : rates_.cards()) {
    cards_.push_back({.card = &card,
                      .pricing = market::pricing_of(card),
                      .reference = market::rate_reference(card)});
  }
}

const Till::Card* Till::card_at(Timestamp now) const {
  const market::RateCard* card = rates_.card_at(now);
  auto found = std::find_if(cards_.begin(), cards_.end(),
                            [&](const Card& known) { return known.card == card; });
  return found == cards_.end() ? nullptr : &*found;
}

void Till::obey(BillingCommand command, Timestamp now, Output& out) {
  if (std::holds_alternative<HoldOpen>(command.what)) return open(std::move(command), now, out);
  if (std::holds_alternative<HoldClose>(command.what)) return close(std::move(command), now, out);
  if (std::holds_alternative<QuoteRead>(command.what)) return quote(command, now, out);
  progress(std::get<HoldProgress>(command.what), now, out);
}

// --- opening ------------------------------------------------------------------------------------

void Till::open(BillingCommand command, Timestamp now, Output& out) {
  const HoldOpen& what = std::get<HoldOpen>(command.what);
  u128 id = run_id(what.request_id, what.choice);
  auto contract = options_.contracts.find(what.model);
  if (contract == options_.contracts.end())
    return answer(command, failed("no contract for model " + what.model), out);
  if (runs_.count(id) != 0)
    return answer(command, failed("run " + to_hex(id) + " is open already"), out);
  if (what.budgets.size() > market::kLimitsMax)
    return answer(command, failed(fmt::format("{} budgets", what.budgets.size())), out);
  if (in_money() && !what.budgets.empty())
    return answer(command, failed("budgets count ST, but this model is priced in credits"), out);
  // One now and then finds out, if nothing else does.
  if (is_away_ && (now.ns < ask_again_ns_ || !sent_.empty()))
    return answer(command, failed(kAway), out);
  if (is_away_) wait_longer(now);
  Run& run = runs_[id];
  run.id = id;
  run.contract = &contract->second;
  run.opener = std::move(command);
  random_.fill(run.salt);
  const HoldOpen& open = run.open();
  bool is_known =
      funds_.knows(open.account) && std::all_of(open.budgets.begin(), open.budgets.end(),
                                                [&](u128 budget) { return funds_.knows(budget); });
  if (is_known) return begin(run, now, out);
  look_up(run, Purpose::kFetch, out);
}

std::optional<Till::Price> Till::price_of(const HoldOpen& what, Timestamp now) const {
  const Card* card = card_at(now);
  if (card == nullptr) return std::nullopt;
  const market::RateRule* rule =
      market::find_rule(*card->card, {.model = what.model,
                                      .service = what.service,
                                      .zone = options_.contracts.at(what.model).zone,
                                      .at = now,
                                      .input_tokens = what.prompt_tokens});
  if (rule == nullptr) return std::nullopt;
  return Price{.card = card, .prices = market::prices_for_choice(rule->prices, what.choice)};
}

Result<i64> Till::max_cost(const HoldOpen& what) const {
  constexpr i64 kNanoPerMicro = 1'000;
  constexpr u128 kNanoPerMst = 1'000'000'000'000'000;
  if (!what.funds.max_cost) return market::kChargeMax;
  const MaxCost& limit = *what.funds.max_cost;
  if (in_money()) {
    if (limit.unit == MaxCost::Unit::kStandard)
      return Error{Code::kInvalid, "max_cost is in ST, but this model is priced in credits"};
    return std::min(limit.nano / kNanoPerMicro, market::kChargeMax);
  }
  if (limit.unit != MaxCost::Unit::kCredit) return std::min(limit.nano, market::kChargeMax);
  i64 price = options_.tariff.price_ucredit_per_mst;
  if (price == 0) return market::kChargeMax;
  u128 most =
      static_cast<u128>(limit.nano / kNanoPerMicro) * kNanoPerMst / static_cast<u128>(price);
  return static_cast<i64>(std::min<u128>(most, static_cast<u128>(market::kChargeMax)));
}

Result<RequestLife> Till::make_life(u128 id, const HoldOpen& what, const Price& price) const {
  const unit::CostMatrix* cost = options_.contracts.at(what.model).cost;
  if (cost == nullptr && price.prices[market::RatedClass::kWork] != 0)
    return Error{Code::kInvalid, "model " + what.model + " is priced by work, which is not known"};
  TG_ASSIGN(market::RequestRate rate,
            what.is_embedding
                ? market::RequestRate::make_embedding(cost, price.prices, what.prompt_tokens)
                : market::RequestRate::make(cost, price.prices, what.prompt_tokens,
                                            what.output_tokens_max));
  market::LifeTerms terms;
  terms.hold.request = id;
  terms.hold.seller = in_money() ? options_.money_seller : options_.seller;
  terms.hold.ledger = funds_ledger();
  terms.hold.reference = price.card->reference;
  terms.model = what.model;
  terms.service = what.service;
  terms.mode = what.funds.mode;
  TG_ASSIGN(terms.max_cost, max_cost(what));
  terms.slice_min = market::least_slice(price.prices);
  terms.ends_at_edge = false;
  return RequestLife(std::move(terms), std::move(rate));
}

void Till::begin(Run& run, Timestamp now, Output& out) {
  const HoldOpen& what = run.open();
  Result<Price> price = quoted_price(run, now);
  if (!price.ok()) return refuse(run, with_status(Status::kInvalid, price.error().message), out);
  if (price->card == nullptr) return refuse(run, failed("no price for model " + what.model), out);
  Result<RequestLife> life = make_life(run.id, what, *price);
  if (!life.ok()) return refuse(run, failed(life.error().message), out);
  // A limit below the prompt and one token is refused as what no account covers.
  i64 bought = life->rate().tokens_within(life->terms().max_cost);
  if (bought < (what.is_embedding ? 0 : 1))
    return refuse(run, with_status(Status::kInsufficientFunds), out);
  run.pricing = price->card->pricing;
  run.locked_until_ns = market::price_locked_until(now).ns;
  run.life.emplace(std::move(*life));
  run.view.sources = funds_.sources(what.account, run.life->terms().hold.ledger,
                                    {.model = what.model, .service = what.service, .now = now});
  run.view.limits.clear();
  for (AccountRef budget : what.budgets) {
    run.view.limits.push_back({.account = budget,
                               .sink = budget_sink_account(),
                               .ledger = ledger::ledgers::kBudget,
                               .available = funds_.available(budget)});
  }
  Chain chain = run.life->open(view(run, now));
  proceed(run, std::move(chain), now, out);
}

// That of the quote that came with the request, or of now; no card if there is none.
Result<Till::Price> Till::quoted_price(const Run& run, Timestamp now) const {
  const HoldOpen& what = run.open();
  if (what.funds.quote.empty()) return price_of(what, now).value_or(Price{});
  auto refused = [](std::string why) { return Error{Code::kInvalid, "quote: " + why}; };
  if (!options_.signer) return refused("none are given here");
  TG_ASSIGN(Quote quote, open_quote(what.funds.quote, options_.signer->verifier(), now));
  if (quote.account != what.account) return refused("it was given to another account");
  bool is_same = quote.model == meter::receipt_name(what.model) &&
                 quote.program == run.contract->program && quote.service == what.service &&
                 quote.is_embedding == what.is_embedding &&
                 quote.prompt_tokens == what.prompt_tokens &&
                 quote.output_tokens_max >= what.output_tokens_max;
  if (!is_same) return refused("it is for another request");
  Price out;
  for (const Card& card : cards_) {
    if (card.pricing.digest == quote.pricing.digest) out.card = &card;
  }
  if (out.card == nullptr) return refused("its rate card is not known here");
  out.prices = market::prices_for_choice(quote.pricing.segments[0].prices, what.choice);
  return out;
}

void Till::quote(const BillingCommand& command, Timestamp now, Output& out) const {
  const QuoteRead& read = std::get<QuoteRead>(command.what);
  auto contract = options_.contracts.find(read.model);
  if (contract == options_.contracts.end())
    return answer(command, failed("no contract for model " + read.model), out);
  HoldOpen what;
  what.model = read.model;
  what.service = read.service;
  what.prompt_tokens = read.prompt_tokens;
  what.output_tokens_max = read.output_tokens_max;
  what.is_embedding = read.is_embedding;
  what.funds = read.funds;
  std::optional<Price> price = price_of(what, now);
  if (!price) return answer(command, failed("no price for model " + read.model), out);
  Result<RequestLife> life = make_life(0, what, *price);
  if (!life.ok()) return answer(command, failed(life.error().message), out);
  market::LifeQuote found =
      market::quote_life(life->terms(), life->rate(), read.output_tokens_expected, now);
  BillingReply reply;
  constexpr i64 kNsPerMs = 1'000'000;
  reply.quote = {.token = {},
                 .in_money = in_money(),
                 .input = found.input,
                 .expected = found.expected,
                 .maximum = found.maximum,
                 .first_hold = found.first_hold,
                 .edge_max = found.edge_max,
                 .expected_ucredit = value_ucredit(found.expected),
                 .maximum_ucredit = value_ucredit(found.maximum),
                 .views = {},
                 .expires = Timestamp{found.expires.ns / kNsPerMs * kNsPerMs}};
  market::OutputReading expected{
      .output = std::clamp<i64>(read.output_tokens_expected, 0, life->rate().output_max())};
  reply.quote.views = ucredit_views(
      life->rate().views_of(found.expected, {.prompt = read.prompt_tokens}, expected));
  if (options_.signer) {
    Quote quote{.account = read.account,
                .is_embedding = read.is_embedding,
                .service = meter::receipt_name(read.service),
                .model = meter::receipt_name(read.model),
                .program = contract->second.program,
                .prompt_tokens = read.prompt_tokens,
                .output_tokens_max = read.output_tokens_max,
                .pricing = price->card->pricing,
                .input = found.input,
                .expected = found.expected,
                .maximum = found.maximum,
                .first_hold = found.first_hold,
                .expires = reply.quote.expires};
    quote.pricing.segments = life->rate().price_segments();
    reply.quote.token = sign(quote, *options_.signer);
  }
  answer(command, std::move(reply), out);
}

void Till::refuse(Run& run, BillingReply reply, Output& out) {
  answer(run.opener, std::move(reply), out);
  forget(run.id);
}

void Till::grant(Run& run, Output& out) {
  run.is_answered = true;
  BillingReply granted;
  granted.hold = run.id;
  run.told_edge = run.life->edge();
  run.told_final = run.life->is_edge_final() && !run.life->lacks_funds();
  granted.notice = {.run = run.open().run, .edge = run.told_edge, .is_final = run.told_final};
  answer(run.opener, std::move(granted), out);
}

// The life would not begin. Nobody is refused for what was last seen of an account: it may have
// been filled since.
void Till::settle_refusal(Run& run, Timestamp, Output& out) {
  bool may_be_more = !run.is_sent || options_.is_leased;
  if (may_be_more && may_look(run)) return look_up(run, Purpose::kRefresh, out);
  const market::RequestRate& rate = run.life->rate();
  u128 least = static_cast<u128>(rate.most(std::min<i64>(1, rate.output_max())));
  u128 sources = 0;
  for (const market::FundingSource& source : run.view.sources) sources += source.available;
  const market::BudgetLimit* tightest = nullptr;
  for (const market::BudgetLimit& limit : run.view.limits) {
    if (tightest == nullptr || limit.available < tightest->available) tightest = &limit;
  }
  // What a race left of a budget may look enough by now; it was not when the ledger decided.
  if (tightest != nullptr && (tightest->available < least || sources >= least)) {
    BillingReply reply = with_status(Status::kBudgetExceeded);
    reply.budget = tightest->account;
    return refuse(run, std::move(reply), out);
  }
  refuse(run, with_status(Status::kInsufficientFunds), out);
}

// --- while it lives -----------------------------------------------------------------------------

RequestLife::View Till::view(Run& run, Timestamp now) {
  funds_.refresh(run.view);
  return {.funding = run.view, .now = now};
}

void Till::progress(const HoldProgress& what, Timestamp now, Output& out) {
  auto found = runs_.find(what.hold);
  if (found == runs_.end() || found->second.closer || !found->second.is_granted()) return;
  Run& run = found->second;
  run.is_fresh = false;
  run.looks = 0;
  // How tokens divide into output and reasoning is final at the end only; until then a slice
  // reserves the dearer and posts the cheaper.
  RequestLife& life = *run.life;
  Chain chain = life.delivered({.output = what.delivered_tokens}, view(run, now));
  if (chain.empty()) chain = life.produced({.output = what.produced_tokens}, view(run, now));
  proceed(run, std::move(chain), now, out);
}

void Till::proceed(Run& run, Chain chain, Timestamp now, Output& out) {
  if (!chain.empty()) return send_chain(run, std::move(chain), now, out);
  const RequestLife& life = *run.life;
  if (life.waits()) return;
  if (life.is_closed()) {
    if (run.is_refused) return forget(run.id);
    if (!run.is_answered) return settle_refusal(run, now, out);
    if (run.closer) return file(run, out);
    return tell_edge(run, out);
  }
  if (!run.is_answered) grant(run, out);
  if (run.closer) return;
  if (life.lacks_funds() && may_look(run)) look_up(run, Purpose::kRefresh, out);
  tell_edge(run, out);
}

void Till::tell_edge(Run& run, Output& out) {
  const RequestLife& life = *run.life;
  EdgeNotice notice{.run = run.open().run, .edge = life.edge(), .is_lost = life.is_closed()};
  notice.is_final = life.is_edge_final() && (run.is_fresh || !life.lacks_funds());
  bool is_news =
      notice.is_lost || notice.edge != run.told_edge || notice.is_final != run.told_final;
  if (!is_news) return;
  run.told_edge = notice.edge;
  run.told_final = notice.is_final;
  BillingReply reply;
  reply.hold = run.id;
  reply.notice = notice;
  reply.is_notice = true;
  out.answers.push_back({run.opener.reply_to, std::move(reply)});
}

void Till::tick(Timestamp now, Output& out) {
  retry(now, out);
  if (now.ns - ticked_at_ns_ < kTickNs) return;
  ticked_at_ns_ = now.ns;
  std::vector<u128> ids;
  for (const auto& [id, run] : runs_) ids.push_back(id);
  for (u128 id : ids) {
    auto found = runs_.find(id);
    if (found != runs_.end()) tick_run(found->second, now, out);
  }
  if (now.ns - swept_at_ns_ < kSweepNs) return;
  swept_at_ns_ = now.ns;
  if (!options_.is_leased) sweep(now, out);
}

void Till::tick_run(Run& run, Timestamp now, Output& out) {
  if (!run.life || run.closer || run.life->state() != RequestLife::State::kOpen) return;
  Chain chain;
  if (now.ns >= run.locked_until_ns) {
    run.locked_until_ns = market::price_locked_until(now).ns;
    std::optional<Price> price = price_of(run.open(), now);
    if (price) {
      u64 reference = price->card->reference;
      chain = run.life->reprice(price->prices, reference, view(run, now));
    }
  }
  if (chain.empty()) chain = run.life->tick(view(run, now));
  if (run.life->waits() && chain.empty()) return;
  proceed(run, std::move(chain), now, out);
}

// --- the end ------------------------------------------------------------------------------------

void Till::close(BillingCommand command, Timestamp now, Output& out) {
  u128 hold = std::get<HoldClose>(command.what).hold;
  auto found = runs_.find(hold);
  bool is_open = found != runs_.end() && found->second.is_granted() && !found->second.closer;
  if (!is_open) return answer(command, failed("no open hold " + to_hex(hold)), out);
  Run& run = found->second;
  run.closer = std::move(command);
  Chain chain = run.life->finish(final_of(run.open(), run.close()), view(run, now));
  proceed(run, std::move(chain), now, out);
}

Result<meter::Draft> Till::draft(const Run& run, Timestamp now) const {
  market::Closing closing{.sent = run.open().sent, .time = now};
  if (run.closer) {
    const HoldClose& close = run.close();
    closing.usage = close.usage;
    closing.is_estimated = close.is_estimated;
    closing.usage_flags = close.usage_flags;
    closing.received = close.received;
    closing.time = close.timing.ended;
  }
  market::Parties parties{.buyer = run.open().account, .seller = run.life->terms().hold.seller};
  market::Contract contract = *run.contract;
  if (run.closer && !run.close().device.empty()) contract.device = run.close().device;
  TG_ASSIGN(meter::Draft draft, market::draft_of(contract, run.pricing, *run.life, parties,
                                                 run.open().choice, closing, run.salt));
  if (!run.open().key.empty()) draft.key = meter::receipt_name(run.open().key);
  if (!run.open().project.empty()) draft.project = meter::receipt_name(run.open().project);
  return draft;
}

// The receipt of what was settled without one: nothing was held, or the hold was lost.
void Till::file(Run& run, Output& out) {
  if (run.is_filed) return answer_closed(run, out);
  Result<meter::Draft> made = draft(run, run.close().timing.ended);
  if (!made.ok()) {
    answer(*run.closer, failed(made.error().message), out);
    return forget(run.id);
  }
  Sent sent{.purpose = Purpose::kFile, .run = run.id};
  sent.request.documents.push_back({.id = run.id, .bytes = meter::to_text(*made)});
  send(std::move(sent), out);
}

i64 Till::value_ucredit(i64 charge) const {
  return in_money() ? charge : market::list_value_ucredit(options_.tariff, charge);
}

// Of the charge and not of its value, which is nothing for a request of a few micro-ST.
market::PriceViews Till::ucredit_views(market::PriceViews views) const {
  if (views.per_million_tokens) views.per_million_tokens = value_ucredit(*views.per_million_tokens);
  if (views.per_mst) views.per_mst = value_ucredit(*views.per_mst);
  return views;
}

Settlement Till::settlement(const Run& run) const {
  const RequestLife& life = *run.life;
  Settlement out;
  out.receipt_id = to_hex(run.id);
  out.charged = life.charge();
  out.in_money = in_money();
  out.value_ucredit = value_ucredit(out.charged);
  out.views = ucredit_views(life.rate().views_of(out.charged, life.input(), life.delivered()));
  out.outcome = life.outcome();
  if (run.contract->cost == nullptr) return out;
  std::array<i64, 1> output_of_one = {life.delivered().total()};
  std::span<const i64> outputs;
  if (!life.rate().is_embedding()) outputs = output_of_one;
  Result<unit::NominalWork> work =
      unit::nominal_work(*run.contract->cost, {.prompt = life.input().prompt,
                                               .cached = life.input().cached,
                                               .outputs = outputs,
                                               .embedding = life.rate().is_embedding()});
  if (work.ok()) out.nominal_nst = work->total.value;
  return out;
}

void Till::answer_closed(Run& run, Output& out) {
  BillingReply reply;
  reply.settlement = settlement(run);
  count(run, reply.settlement);
  answer(*run.closer, std::move(reply), out);
  forget(run.id);
}

// --- meters -------------------------------------------------------------------------------------

void Till::count(const Run& run, const Settlement& settled) {
  const HoldOpen& what = run.open();
  Whose whose(what.account, what.key, what.project);
  if (meters_.size() >= kMetersMax && meters_.count(whose) == 0) meters_.erase(meters_.begin());
  Meter& meter = meters_[whose];
  ++meter.requests;
  meter.prompt_tokens += what.prompt_tokens;
  meter.output_tokens += run.life->rate().is_embedding() ? 0 : run.life->delivered().total();
  meter.nominal_nst += settled.nominal_nst;
  meter.charged += settled.charged;
}

std::string Till::meters(AccountRef account) const {
  std::map<Whose, Meter> all;
  for (auto meter = meters_.lower_bound(Whose(account, "", ""));
       meter != meters_.end() && std::get<0>(meter->first) == account; ++meter)
    all.insert(*meter);
  for (const auto& [id, run] : runs_) {
    const HoldOpen& what = run.open();
    if (what.account != account || !run.is_granted()) continue;
    Meter& meter = all[Whose(account, what.key, what.project)];
    ++meter.open;
    meter.prompt_tokens += what.prompt_tokens;
    meter.output_tokens += run.life->delivered().total();
    meter.charged += run.life->posted();
  }
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("unit").string(in_money() ? "ucredit" : "nano_st");
  json.key("meters").begin_array();
  for (const auto& [whose, meter] : all) {
    json.begin_object().key("key").string(std::get<1>(whose));
    json.key("project").string(std::get<2>(whose)).key("open").number(meter.open);
    json.key("requests").number_u64(meter.requests);
    json.key("prompt_tokens").number(meter.prompt_tokens);
    json.key("output_tokens").number(meter.output_tokens);
    json.key("nominal_nst").number(meter.nominal_nst).key("charged").number(meter.charged);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

// --- the ledger ---------------------------------------------------------------------------------

void Till::send(Sent sent, Output& out) {
  u64 tag = tag_next_++;
  sent.request.tag = tag;
  funds_.add(sent.growth);
  out.requests.push_back(sent.request);
  sent_.emplace(tag, std::move(sent));
}

Till::Sent Till::take_out(Sents::iterator found) {
  Sent sent = std::move(found->second);
  sent_.erase(found);
  funds_.remove(sent.growth);
  if (sent.needed == 0) return sent;
  auto needs = needs_.find(sent.payer);
  TG_ASSERT(needs != needs_.end() && needs->second >= sent.needed);
  needs->second -= sent.needed;
  if (needs->second == 0) needs_.erase(needs);
  return sent;
}

void Till::send_chain(Run& run, Chain chain, Timestamp now, Output& out) {
  Sent sent{.purpose = Purpose::kChain, .run = run.id};
  run.is_sent = true;
  const RequestLife& life = *run.life;
  sent.growth = funds_.growth(chain, life.parts());
  sent.request.lookups = accounts_in(chain, life.parts());
  // The last chain carries the receipt; a slice that posts carries the one that a crash would
  // leave.
  bool is_last = life.is_settling() && run.closer;
  if (is_last || life.posting() > 0) {
    Result<meter::Draft> made = draft(run, now);
    if (!made.ok()) {
      log_error("cashier", "request {}: {}", to_hex(run.id), made.error().message);
    } else if (is_last) {
      sent.request.documents.push_back({.id = run.id, .bytes = meter::to_text(*made)});
    } else {
      sent.request.documents.push_back({.id = market::slice_document_id(run.id, life.slices()),
                                        .bytes = market::slice_document(*made)});
    }
  }
  sent.request.transfers = std::move(chain);
  send(std::move(sent), out);
}

// What it needs now: to begin, or for its next slice.
i64 Till::wanted_by(const Run& run) {
  if (!run.life) return 0;
  const RequestLife& life = *run.life;
  const market::RequestRate& rate = life.rate();
  i64 most = std::min(rate.most(rate.output_max()), life.terms().max_cost);
  if (run.is_granted()) return std::clamp<i64>(most - life.authorised(), 0, life.terms().slice_min);
  if (life.terms().mode == market::HoldMode::kGuaranteed) return most;
  return std::min(rate.most(std::min<i64>(1, rate.output_max())), most);
}

// Of a share, others may have taken what was brought: one look is not believed yet.
bool Till::may_look(Run& run) const {
  if (run.is_fresh) return false;
  ++run.looks;
  return true;
}

void Till::look_up(Run& run, Purpose purpose, Output& out) {
  Sent sent{.purpose = purpose, .run = run.id, .payer = run.open().account};
  sent.needed = static_cast<u128>(wanted_by(run));
  if (sent.needed > 0) sent.wanted = needs_[sent.payer] += sent.needed;
  sent.request.lookups = funds_.accounts_of(run.open().account, funds_ledger());
  for (AccountRef budget : run.open().budgets) sent.request.lookups.push_back(budget);
  if (sent.request.lookups.size() > static_cast<std::size_t>(ledger::kRequestEventsMax))
    sent.request.lookups.resize(static_cast<std::size_t>(ledger::kRequestEventsMax));
  send(std::move(sent), out);
}

void Till::complete(const ledger::Reply& reply, Timestamp now, Output& out) {
  Sents::iterator found = sent_.find(reply.tag);
  TG_ASSERT(found != sent_.end());
  if (reply.error) return postpone(found, *reply.error, now, out);
  if (is_away_) log_info("cashier", "the ledger is back; {} requests wait for it", sent_.size());
  is_away_ = false;
  Sent done = take_out(found);
  for (const std::optional<ledger::Account>& account : reply.lookups) {
    if (account) funds_.learn(*account);
  }
  if (done.purpose == Purpose::kSweep) return complete_sweep(done, reply, now, out);
  complete_run(std::move(done), reply, now, out);
}

void Till::complete_run(Sent sent, const ledger::Reply& reply, Timestamp now, Output& out) {
  auto found = runs_.find(sent.run);
  if (found == runs_.end()) return;
  Run& run = found->second;
  switch (sent.purpose) {
    case Purpose::kFetch: {
      const HoldOpen& what = run.open();
      if (!funds_.knows(what.account)) return refuse(run, with_status(Status::kNotFound), out);
      for (AccountRef budget : what.budgets) {
        if (!funds_.knows(budget))
          return refuse(run, failed("no budget account " + to_hex(budget)), out);
      }
      // Of a share, nobody knew how much to bring.
      run.is_fresh = !options_.is_leased;
      return begin(run, now, out);
    }
    case Purpose::kRefresh: {
      run.is_fresh = !options_.is_leased || run.looks >= kLooksMax;
      if (!run.is_answered && run.life->is_closed()) return begin(run, now, out);
      return proceed(run, run.life->tick(view(run, now)), now, out);
    }
    case Purpose::kChain: {
      bool has_receipt = !sent.request.documents.empty() && sent.request.documents[0].id == run.id;
      run.is_filed = has_receipt && reply.succeeded();
      Chain chain = run.life->answer(reply.transfers, view(run, now));
      return proceed(run, std::move(chain), now, out);
    }
    case Purpose::kFile: {
      if (reply.succeeded()) {
        run.is_filed = true;
        return answer_closed(run, out);
      }
      answer(*run.closer, failed(reply.failure()), out);
      return forget(run.id);
    }
    case Purpose::kSweep: return;
  }
}

// --- a ledger that is away ----------------------------------------------------------------------

void Till::postpone(Sents::iterator found, const Error& error, Timestamp now, Output& out) {
  bool is_away = error.code == Code::kUnavailable;
  if (!is_away && found->second.purpose == Purpose::kRefresh) return go_without(found, now, out);
  if (is_away && !is_away_) {
    is_away_ = true;
    ask_again_after_ns_ = kAskAgainNsMin;
    ask_again_ns_ = now.ns + kAskAgainNsMin;
    log_warn("cashier", "the ledger is away; {} requests wait for it: {}", sent_.size(),
             error.message);
  }
  auto run = runs_.find(found->second.run);
  bool is_new = run != runs_.end() && !run->second.is_answered;
  bool may_hold = found->second.purpose == Purpose::kChain;
  bool is_wanted = run != runs_.end() || found->second.purpose == Purpose::kSweep;
  if (!is_away || !is_wanted || (is_new && !may_hold)) return give_up(found, out);
  found->second.is_out = false;
  if (is_new) let_go(run->second, now, out);
}

// What a run under way holds is all that it gets; its own ledger has not failed.
void Till::go_without(Sents::iterator found, Timestamp now, Output& out) {
  auto of = runs_.find(found->second.run);
  if (of == runs_.end() || !of->second.is_granted()) return give_up(found, out);
  take_out(found);
  of->second.is_fresh = true;
  proceed(of->second, of->second.life->tick(view(of->second, now)), now, out);
}

// Nobody is kept waiting for a ledger that is away. What it was asked to hold it may hold all the
// same: the chain goes on until that is known, and then ends.
void Till::let_go(Run& run, Timestamp now, Output& out) {
  answer(run.opener, failed(kAway), out);
  run.is_answered = true;
  run.is_refused = true;
  Chain none = run.life->finish(
      {.input = {.prompt = run.open().prompt_tokens}, .cause = EndCause::kRefused}, view(run, now));
  TG_ASSERT(none.empty());
}

// What was held lapses by itself; what was not posted charges nobody.
void Till::give_up(Sents::iterator found, Output& out) {
  Sent sent = take_out(found);
  auto of = runs_.find(sent.run);
  if (of == runs_.end()) return;
  Run& run = of->second;
  if (run.is_granted())
    log_error("cashier", "request {} could not be settled: the ledger does not take it",
              to_hex(run.id));
  if (run.closer) {
    answer(*run.closer, failed(kAway), out);
  } else if (!run.is_answered) {
    answer(run.opener, failed(kAway), out);
  } else if (run.is_granted()) {
    // Its holder is told, and closes it in vain.
    BillingReply reply;
    reply.hold = run.id;
    reply.notice = {.run = run.open().run, .is_final = true, .is_lost = true};
    reply.is_notice = true;
    out.answers.push_back({run.opener.reply_to, std::move(reply)});
  }
  forget(run.id);
}

// An error is never an answer, so what is sent again cannot be done twice.
void Till::retry(Timestamp now, Output& out) {
  bool is_over = now.ns >= asks_until_ns_;
  if (!is_over && is_away_ && now.ns < ask_again_ns_) return;
  bool has_asked = false;
  for (Sents::iterator next = sent_.begin(); next != sent_.end();) {
    Sents::iterator sent = next++;
    if (sent->second.is_out) continue;
    if (is_over) {
      give_up(sent, out);
      continue;
    }
    sent->second.is_out = true;
    has_asked = true;
    out.requests.push_back(sent->second.request);
  }
  if (is_away_ && has_asked) wait_longer(now);
}

void Till::wait_longer(Timestamp now) {
  ask_again_after_ns_ = std::min(2 * ask_again_after_ns_, kAskAgainNsMax);
  ask_again_ns_ = now.ns + ask_again_after_ns_;
}

void Till::sweep(Timestamp now, Output& out) {
  for (const SweepName& due : funds_.due(now)) {
    Sent sent{.purpose = Purpose::kSweep, .sweep = due};
    sent.request.transfers = funds_.sweep_chain(options_.books, due);
    sent.request.lookups = {due.account};
    if (!sent.request.transfers.empty()) send(std::move(sent), out);
  }
}

void Till::complete_sweep(const Sent& sent, const ledger::Reply& reply, Timestamp, Output& out) {
  market::Verdict verdict = market::judge(reply.transfers);
  if (verdict == market::Verdict::kDone) return;
  const SweepName& name = sent.sweep;
  if (verdict == market::Verdict::kFailed || name.attempt + 1 == kSweepAttemptsMax) {
    log_error("cashier", "account {}: {} {} failed: {}", to_hex(name.account),
              name.is_refill ? "refill" : "expiry", name.number, reply.failure());
    return;
  }
  Sent again{.purpose = Purpose::kSweep, .sweep = name};
  ++again.sweep.attempt;
  again.request.transfers = funds_.sweep_chain(options_.books, again.sweep);
  again.request.lookups = {name.account};
  if (!again.request.transfers.empty()) send(std::move(again), out);
}

void Till::answer(const BillingCommand& command, BillingReply reply, Output& out) const {
  reply.tag = command.tag;
  out.answers.push_back({command.reply_to, std::move(reply)});
}

}  // namespace tg::gateway
