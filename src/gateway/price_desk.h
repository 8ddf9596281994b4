// What a run costs: the rate card of now or that of a quote, the buyer's own limit in the card's
// unit, and the life that a run of these terms has. Nothing here knows which runs are open.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gateway/billing.h"
#include "gateway/quote.h"
#include "ledger/types.h"
#include "market/funding/catalogue.h"
#include "market/funding/plan.h"
#include "market/settle.h"

namespace tg::gateway {

struct TillOptions {
  u128 seller = 0;        // Ledger account credited for what is priced in ST,
  u128 money_seller = 0;  // and in credits.
  std::map<std::string, market::Contract> contracts;  // By model name; cost matrices outlive it.
  std::optional<market::RateBook> rates;              // None: one price, the factor tariff's.
  market::Tariff tariff;                   // The list price of a bST in credits; the factor.
  std::vector<market::Plan> plans;         // What accounts were sold under.
  std::optional<tlog::NoteSigner> signer;  // Of quotes; none: they are not signed, nor accepted.
  market::FundingBooks books;              // Where grants come from and what expired goes.
  // The ledger has leased shares of accounts (ledger/lease_service.h): looking one up may bring
  // more, and expiries and refills are done where the accounts are whole.
  bool is_leased = false;
};

class PriceDesk {
 public:
  // A card, and what every run that it prices has of it; digests are not worked out for each.
  struct Card {
    const market::RateCard* card = nullptr;
    meter::Pricing pricing;
    u64 reference = 0;
  };
  struct Price {
    const Card* card = nullptr;
    market::PriceVector prices;
  };

  // The options must outlive it. REQUIRES of every question below: there is a contract for its
  // model, but for quote(), which says if there is none.
  explicit PriceDesk(const TillOptions& options);
  PriceDesk(const PriceDesk&) = delete;
  PriceDesk& operator=(const PriceDesk&) = delete;

  std::optional<Price> price_of(const HoldOpen& what, Timestamp now) const;
  // That of the quote that came with the request, or of now; no card if there is none.
  Result<Price> asked_price(const HoldOpen& what, Timestamp now) const;
  Result<market::RequestLife> make_life(u128 id, const HoldOpen& what, const Price& price) const;
  BillingReply quote(const QuoteRead& read, Timestamp now) const;

  bool in_money() const { return rates_.unit() == market::RateUnit::kMicroCredit; }
  u32 funds_ledger() const {
    return in_money() ? ledger::ledgers::kMoney : ledger::ledgers::kStandard;
  }
  i64 value_ucredit(i64 charge) const;
  // Views of a charge as views in 10^-6 credit: of the charge and not of its value, which is
  // nothing for a request of a few micro-ST.
  market::PriceViews ucredit_views(market::PriceViews views) const;
  const market::RateBook& rates() const { return rates_; }

 private:
  const Card* card_at(Timestamp now) const;
  Result<i64> max_cost(const HoldOpen& what) const;

  const TillOptions& options_;
  market::RateBook rates_;
  std::vector<Card> cards_;  // Of rates_, in its order.
};

}  // namespace tg::gateway
