#include "gateway/price_desk.h"

#include <algorithm>

namespace tg::gateway {

using market::RequestLife;

static market::RateBook book_of(const TillOptions& options) {
  if (options.rates) return *options.rates;
  return market::RateBook::make({market::rate_card_of(options.tariff)}).value();
}

PriceDesk::PriceDesk(const TillOptions& options) : options_(options), rates_(book_of(options)) {
  for (const market::RateCard& card : rates_.cards()) {
    cards_.push_back({.card = &card,
                      .pricing = market::pricing_of(card),
                      .reference = market::rate_reference(card)});
  }
}

const PriceDesk::Card* PriceDesk::card_at(Timestamp now) const {
  const market::RateCard* card = rates_.card_at(now);
  auto found = std::find_if(cards_.begin(), cards_.end(),
                            [&](const Card& known) { return known.card == card; });
  return found == cards_.end() ? nullptr : &*found;
}

std::optional<PriceDesk::Price> PriceDesk::price_of(const HoldOpen& what, Timestamp now) const {
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

Result<i64> PriceDesk::max_cost(const HoldOpen& what) const {
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

Result<RequestLife> PriceDesk::make_life(u128 id, const HoldOpen& what, const Price& price) const {
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

Result<PriceDesk::Price> PriceDesk::asked_price(const HoldOpen& what, Timestamp now) const {
  if (what.funds.quote.empty()) return price_of(what, now).value_or(Price{});
  auto refused = [](std::string why) { return Error{Code::kInvalid, "quote: " + why}; };
  if (!options_.signer) return refused("none are given here");
  TG_ASSIGN(Quote quote, open_quote(what.funds.quote, options_.signer->verifier(), now));
  if (quote.account != what.account) return refused("it was given to another account");
  bool is_same = quote.model == meter::receipt_name(what.model) &&
                 quote.program == options_.contracts.at(what.model).program &&
                 quote.service == what.service && quote.is_embedding == what.is_embedding &&
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

BillingReply PriceDesk::quote(const QuoteRead& read, Timestamp now) const {
  auto contract = options_.contracts.find(read.model);
  if (contract == options_.contracts.end()) return failed("no contract for model " + read.model);
  HoldOpen what;
  what.model = read.model;
  what.service = read.service;
  what.prompt_tokens = read.prompt_tokens;
  what.output_tokens_max = read.output_tokens_max;
  what.is_embedding = read.is_embedding;
  what.funds = read.funds;
  std::optional<Price> price = price_of(what, now);
  if (!price) return failed("no price for model " + read.model);
  Result<RequestLife> life = make_life(0, what, *price);
  if (!life.ok()) return failed(life.error().message);
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
  return reply;
}

i64 PriceDesk::value_ucredit(i64 charge) const {
  return in_money() ? charge : market::list_value_ucredit(options_.tariff, charge);
}

market::PriceViews PriceDesk::ucredit_views(market::PriceViews views) const {
  if (views.per_million_tokens) views.per_million_tokens = value_ucredit(*views.per_million_tokens);
  if (views.per_mst) views.per_mst = value_ucredit(*views.per_mst);
  return views;
}

}  // namespace tg::gateway
