// The only place where a receipt meets a price: quotes, and the ledger transfers of a request's
// life: hold before the first token, then one chain that captures what is billed and releases the
// rest (money.md §5.4).
#pragma once

#include <optional>
#include <string>

#include "env/clock.h"
#include "ledger/service.h"
#include "market/tariff.h"
#include "meter/receipt.h"

namespace tg::market {

// Who pays whom, fixed by the key that opened the request.
struct Parties {
  u128 buyer = 0;   // account_code::kBuyerBundle on ledgers::kStandard
  u128 seller = 0;  // account_code::kSellerPending on ledgers::kStandard
};

// What a request may cost: nominal work of its prompt and of the most it may put out.
struct Quote {
  unit::NominalWork maximum;
  i64 held = 0;  // nano-bST to reserve
};
Result<Quote> quote(const unit::CostMatrix& cost, const Tariff& tariff, i64 prompt, i64 output_max,
                    i64 choices);

// Longest a hold may stay open before the ledger itself releases it.
inline constexpr u32 kHoldTimeoutMs = 3'600'000;

struct Hold {
  u128 request = 0;
  u128 id = 0;  // transfer
  Parties parties;
  i64 amount = 0;
};
// Reserves; the reply's one transfer status says ok or exceeds_credits. REQUIRES: amount > 0.
ledger::Request hold_request(const Hold& hold);

// What is known at the end of a request.
struct Closing {
  meter::Outcome outcome = meter::Outcome::kCompleted;
  i64 prompt_tokens = 0;
  i64 cached_tokens = 0;
  std::vector<i64> delivered;  // per choice
  unit::Usage usage;           // summed over choices; its tokens are ignored in favour of the above
  std::optional<meter::Content> sent;      // the buyer's own bytes, if this edge kept their hash
  std::optional<meter::Content> received;  // and what was delivered
  Timestamp time;
};

// What does not change between requests of one model.
struct Contract {
  std::string device;
  std::string model;
  Digest program{};
  const unit::CostMatrix* cost = nullptr;  // borrowed
  Tariff tariff;
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // of the meter's log
};

struct Settlement {
  meter::Receipt receipt;   // a draft: not yet a page of the meter's log
  ledger::Request request;  // post or void, with the draft as a document under the request's id
};

// The receipt and the transfers that settle it. `post` is the capture's transfer id, `salt` random
// and for this receipt alone. kLimit only on overflow. REQUIRES: the hold covers the delivered
// tokens, as quote() makes it.
Result<Settlement> settle(const Contract& contract, const Hold& hold, const Closing& closing,
                          u128 post, const meter::Salt& salt);

}  // namespace tg::market
