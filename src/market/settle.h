// Where a request's money meets its readings: what a model's requests are priced by, and the
// receipt that states both. The transfers are the life's (lifecycle/request_life.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "env/clock.h"
#include "market/lifecycle/request_life.h"
#include "market/rating/rate_card.h"
#include "market/tariff.h"
#include "meter/receipt.h"

namespace tg::market {

// What does not change between requests of one model.
struct Contract {
  std::string device;
  std::string model;
  std::string zone = "local";
  Digest program{};
  const unit::CostMatrix* cost = nullptr;           // borrowed; null: nothing may be priced by work
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // of the meter's log
};

// Rate cards of one unit. At any moment the last of those that are valid counts.
class RateBook {
 public:
  // kInvalid if there is none, or if they are of two units.
  static Result<RateBook> make(std::vector<RateCard> cards);
  // nullptr before the first is valid. Borrowed from the book.
  const RateCard* card_at(Timestamp now) const;
  RateUnit unit() const { return cards_.front().unit; }
  const std::vector<RateCard>& cards() const { return cards_; }

 private:
  explicit RateBook(std::vector<RateCard> cards) : cards_(std::move(cards)) {}
  std::vector<RateCard> cards_;  // by valid_from, then version
};

// The factor tariff as a card: one price for work.
RateCard rate_card_of(const Tariff& tariff);
// How receipts name the card. Its segments are left empty.
meter::Pricing pricing_of(const RateCard& card);

// Choices of one request share one prefill (standard-token.md §2): the first bears it, the classes
// of the prompt are free for the others.
PriceVector prices_for_choice(const PriceVector& prices, i64 choice);
// 256 ST of work and 256 tokens of output at these prices, whichever they price; at least 1.
i64 least_slice(const PriceVector& prices);

// What is known at the end of a request, beside its money.
struct Closing {
  unit::Usage usage;  // its tokens are ignored in favour of the life's
  bool is_estimated = false;
  u32 usage_flags = 0;
  std::optional<meter::Content> sent;      // the buyer's own bytes, if this edge kept their hash
  std::optional<meter::Content> received;  // and what was delivered
  Timestamp time;
};

struct Parties {
  u128 buyer = 0;
  u128 seller = 0;
};

// The receipt's draft. `pricing` without segments: they are the life's. kLimit only on overflow.
// REQUIRES: the life was admitted. Of one that goes on it is the receipt of what a crash would
// leave, with the outcome of that: the seller's fault.
Result<meter::Draft> draft_of(const Contract& contract, const meter::Pricing& pricing,
                              const RequestLife& life, const Parties& parties, i64 choice,
                              const Closing& closing, const meter::Salt& salt);

// What is stored with every slice that posts something: the draft to be filed if its request never
// comes to an end. Not a draft itself, so that no log makes a page of it.
std::string slice_document(const meter::Draft& draft);
// kInvalid if it is none.
Result<meter::Draft> parse_slice_document(std::string_view document);
u128 slice_document_id(u128 request, u32 slice);

}  // namespace tg::market
