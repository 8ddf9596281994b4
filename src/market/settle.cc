#include "market/settle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/bytes.h"
#include "ledger/id.h"

namespace tg::market {

namespace {

constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kNanoPerSt = 1'000'000'000;

Status fill_work(meter::Receipt& r, const unit::CostMatrix* cost, const unit::Usage& usage) {
  TG_ASSIGN(unit::NanoSt actual, unit::round_to_nano(usage.actual_atto_st));
  r.actual_nst = actual.value;
  if (cost == nullptr) return {};
  std::span<const i64> outputs;
  if (!r.is_embedding) outputs = r.output_tokens;
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(*cost, {.prompt = r.prompt_tokens,
                                                               .cached = r.cached_tokens,
                                                               .outputs = outputs,
                                                               .embedding = r.is_embedding}));
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = meter::billable(r.outcome, work, r.output_tokens[0]).value;
  return {};
}

void fill_timing(meter::Receipt& r, const unit::Usage& usage) {
  constexpr i64 kNsPerUs = 1'000;
  r.steps = usage.steps;
  r.device_us = usage.attributed_ns / kNsPerUs;
  r.queue_us = usage.queue_ns / kNsPerUs;
  r.first_token_us = usage.first_token_ns / kNsPerUs;
  r.total_us = usage.total_ns / kNsPerUs;
}

// One line for each account, in the order they first paid.
std::vector<meter::Payment> payments_of(std::span<const Draw> draws) {
  std::vector<meter::Payment> out;
  for (const Draw& draw : draws) {
    std::vector<meter::Payment>::iterator known = std::find_if(
        out.begin(), out.end(), [&](const meter::Payment& p) { return p.account == draw.account; });
    if (known == out.end()) known = out.insert(out.end(), {.account = draw.account, .amount = 0});
    known->amount += static_cast<i64>(draw.amount);
  }
  TG_ASSERT(static_cast<i64>(out.size()) <= meter::kPaymentsMax);
  return out;
}

void fill_money(meter::Receipt& r, const RequestLife& life) {
  RequestLife::Bill bill = life.bill();
  r.hold = life.first_hold();
  r.held = bill.authorised;
  r.mode = name(life.terms().mode);
  r.max_cost = life.terms().max_cost;
  r.slices = life.slices();
  r.billed = bill.charge;
  r.paid = payments_of(bill.paid);
}

}  // namespace

Result<RateBook> RateBook::make(std::vector<RateCard> cards) {
  if (cards.empty()) return Error{Code::kInvalid, "rates: no rate card"};
  for (const RateCard& card : cards) {
    TG_TRY(card.check());
    if (card.unit != cards[0].unit)
      return Error{Code::kInvalid, "rates: " + card.name + " is in another unit than " +
                                       cards[0].name + "; a request is paid in one"};
  }
  std::stable_sort(cards.begin(), cards.end(), [](const RateCard& a, const RateCard& b) {
    return std::pair(a.valid_from_s, a.version) < std::pair(b.valid_from_s, b.version);
  });
  return RateBook(std::move(cards));
}

const RateCard* RateBook::card_at(Timestamp now) const {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  const RateCard* out = nullptr;
  for (const RateCard& card : cards_) {
    if (now.ns / kNsPerSecond >= card.valid_from_s) out = &card;
  }
  return out;
}

RateCard rate_card_of(const Tariff& tariff) {
  RateRule rule;
  // factor_ppm of a nano-ST for each nano-ST of work.
  constexpr i64 kWorkPerPpm = 1'000'000'000;
  rule.prices[RatedClass::kWork] = static_cast<i64>(tariff.factor_ppm) * kWorkPerPpm;
  return {.name = tariff.name,
          .version = 1,
          .unit = RateUnit::kNanoStandard,
          .valid_from_s = 0,
          .rules = {rule}};
}

meter::Pricing pricing_of(const RateCard& card) {
  return {.card = card.name,
          .version = card.version,
          .in_money = card.unit == RateUnit::kMicroCredit,
          .digest = digest(card),
          .segments = {}};
}

PriceVector prices_for_choice(const PriceVector& prices, i64 choice) {
  PriceVector out = prices;
  if (choice == 0) return out;
  for (RatedClass rated :
       {RatedClass::kUncachedInput, RatedClass::kCachedInput, RatedClass::kCacheWrite})
    out[rated] = 0;
  return out;
}

i64 least_slice(const PriceVector& prices) {
  constexpr i64 kSlice = 256;
  i128 of_tokens =
      static_cast<i128>(std::max(prices[RatedClass::kOutput], prices[RatedClass::kReasoning])) *
      kSlice / units_per_price(RatedClass::kOutput);
  i128 of_work = static_cast<i128>(prices[RatedClass::kWork]) * kSlice * kNanoPerSt /
                 units_per_price(RatedClass::kWork);
  return static_cast<i64>(std::clamp<i128>(of_tokens + of_work, 1, kChargeMax));
}

Result<meter::Draft> draft_of(const Contract& contract, const meter::Pricing& pricing,
                              const RequestLife& life, const Parties& parties, i64 choice,
                              const Closing& closing, const meter::Salt& salt) {
  meter::Draft out;
  out.salt = salt;
  meter::Receipt& r = out.receipt;
  r.version = 3;
  r.suite = contract.suite;
  r.device = meter::receipt_name(contract.device);
  r.request = life.terms().hold.request;
  r.buyer = parties.buyer;
  r.seller = parties.seller;
  r.choice = choice;
  r.is_embedding = life.rate().is_embedding();
  r.model = meter::receipt_name(contract.model);
  r.program = contract.program;
  r.pricing = pricing;
  r.pricing.segments = life.rate().price_segments();
  r.time = Timestamp{closing.time.ns / kNsPerMs * kNsPerMs};
  r.prompt_tokens = life.input().prompt;
  r.cached_tokens = life.input().cached;
  r.written_tokens = life.input().written;
  r.output_tokens = {life.delivered().total()};
  r.reasoning_tokens = life.delivered().reasoning;
  r.is_estimated = closing.is_estimated;
  r.usage_flags = closing.usage_flags;
  bool is_over = life.is_settling() || life.is_closed();
  r.outcome = is_over ? life.outcome() : meter::Outcome::kSellerFault;
  TG_TRY(fill_work(r, contract.cost, closing.usage));
  fill_timing(r, closing.usage);
  fill_money(r, life);
  r.binding = meter::bind(contract.suite, salt, closing.sent, closing.received);
  return out;
}

constexpr std::string_view kSliceMagic = "tokengrid-slice/1\n";

std::string slice_document(const meter::Draft& draft) {
  return std::string(kSliceMagic) + meter::to_text(draft);
}

Result<meter::Draft> parse_slice_document(std::string_view document) {
  if (!document.starts_with(kSliceMagic)) return Error{Code::kInvalid, "not a slice's document"};
  return meter::parse_draft(document.substr(kSliceMagic.size()));
}

u128 slice_document_id(u128 request, u32 slice) {
  return ledger::id_from_name(fmt::format("slice/{}/{}", to_hex(request), slice));
}

}  // namespace tg::market
