#include "gateway/till.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
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

}  // namespace

u128 run_id(const std::string& request_id, i64 choice) {
  return ledger::id_from_name(fmt::format("{}/{}", request_id, choice));
}

Till::Till(TillOptions options, Random& random)
    : options_(std::move(options)), desk_(options_), random_(random), funds_(options_.plans) {}

void Till::obey(BillingCommand command, Timestamp now, Output& out) {
  if (std::holds_alternative<HoldOpen>(command.what)) return open(std::move(command), now, out);
  if (std::holds_alternative<HoldClose>(command.what)) return close(std::move(command), now, out);
  if (const QuoteRead* read = std::get_if<QuoteRead>(&command.what))
    return answer(command, desk_.quote(*read, now), out);
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
  if (desk_.in_money() && !what.budgets.empty())
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

void Till::begin(Run& run, Timestamp now, Output& out) {
  const HoldOpen& what = run.open();
  Result<PriceDesk::Price> price = desk_.asked_price(what, now);
  if (!price.ok()) return refuse(run, with_status(Status::kInvalid, price.error().message), out);
  if (price->card == nullptr) return refuse(run, failed("no price for model " + what.model), out);
  Result<RequestLife> life = desk_.make_life(run.id, what, *price);
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
    std::optional<PriceDesk::Price> price = desk_.price_of(run.open(), now);
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
  run.closer = std::make_unique<BillingCommand>(std::move(command));
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

Settlement Till::settlement(const Run& run) const {
  const RequestLife& life = *run.life;
  Settlement out;
  out.receipt_id = to_hex(run.id);
  out.charged = life.charge();
  out.in_money = desk_.in_money();
  out.value_ucredit = desk_.value_ucredit(out.charged);
  out.views =
      desk_.ucredit_views(life.rate().views_of(out.charged, life.input(), life.delivered()));
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
  const RequestLife& life = *run.life;
  meters_.count(run.open(),
                {.output_tokens = life.rate().is_embedding() ? 0 : life.delivered().total(),
                 .nominal_nst = reply.settlement.nominal_nst,
                 .charged = reply.settlement.charged});
  answer(*run.closer, std::move(reply), out);
  forget(run.id);
}

std::string Till::meters(AccountRef account) const {
  RunMeters::Report report = meters_.report(account);
  for (const auto& [id, run] : runs_) {
    if (run.open().account != account || !run.is_granted()) continue;
    report.add_open(run.open(), run.life->delivered().total(), run.life->posted());
  }
  return report.text(desk_.in_money());
}

void Till::answer(const BillingCommand& command, BillingReply reply, Output& out) const {
  reply.tag = command.tag;
  out.answers.push_back({command.reply_to, std::move(reply)});
}

}  // namespace tg::gateway
