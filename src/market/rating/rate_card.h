// A tariff as data: a named, versioned list of price vectors, chosen by model, service class, zone,
// time of day and size of the prompt. The canonical text is what is hashed, stored and named by
// transfers and receipts; TOML is what people write.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "env/clock.h"
#include "market/rating/price_vector.h"

namespace tg::market {

inline constexpr i64 kRateRulesMax = 4'096;
inline constexpr u64 kRateCardBytesMax = 4 << 20;
inline constexpr i64 kRateNameBytesMax = 128;
inline constexpr i32 kMinutesPerDay = 1'440;
// Prices change only where deliveries do: on quarter hours, UTC.
inline constexpr i32 kRateQuantumMinutes = 15;

enum class RateUnit : u8 {
  kMicroCredit,   // 1e-6 credit, ledgers::kMoney
  kNanoStandard,  // nano-bST, ledgers::kStandard
};

// `model`, `service` and `zone` are exact, or a prefix and "*". Times are UTC.
struct RateRule {
  std::string model = "*";
  std::string service = "*";
  std::string zone = "*";
  u8 days = 0x7F;                  // Bit 0 is Monday.
  i32 from_minute = 0;             // Inclusive; multiples of kRateQuantumMinutes.
  i32 to_minute = kMinutesPerDay;  // Exclusive; at or below from_minute: past midnight, on the days
                                   // it began on.
  i64 input_from = 0;              // Prompts of at least this many tokens, cached ones included.
  PriceVector prices;
};

struct RateCard {
  std::string name;
  u64 version = 0;
  RateUnit unit = RateUnit::kMicroCredit;
  i64 valid_from_s = 0;  // Unix seconds.
  std::vector<RateRule> rules;

  // kInvalid or kLimit naming the rule (from 1), field and value.
  Status check() const;
};

struct RateQuery {
  std::string_view model;
  std::string_view service;
  std::string_view zone;
  Timestamp at;
  i64 input_tokens = 0;
};

// The first rule that matches, in the order written; nullptr if none does or the card is not yet
// valid. Borrowed from the card. The same query prices quote, hold and capture.
const RateRule* find_rule(const RateCard& card, const RateQuery& query);

// Until when a price found at `at` is locked: the next quarter hour (money.md §5.4, 4).
Timestamp price_locked_until(Timestamp at);

// One encoding: parse accepts exactly what to_text writes, and errors name the line. REQUIRES of
// to_text: card.check() is ok.
std::string to_text(const RateCard& card);
Result<RateCard> parse_rate_card(std::string_view text);
Digest digest(const RateCard& card);

// Transfer::reference of what this card priced: the first 8 bytes of its digest, never 0.
u64 rate_reference(const RateCard& card);

// Errors name file line, field and value. Unknown fields are errors: a price that is silently
// dropped is a wrong bill.
Result<RateCard> parse_rate_card_toml(std::string_view toml, std::string_view file);

}  // namespace tg::market
