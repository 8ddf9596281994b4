// What is sold to consumers: bundles, subscriptions and credit lines as plans in a TOML file, and
// the ledger accounts and transfers that a sale of one makes.
//
//   [[plan]]
//   name = "starter"            # of the plan: letters, digits and "-_.:/@"
//   kind = "bundle"             # "bundle", "subscription" or "credit"
//   amount_st = "10000000"      # ST granted: once, per period, or as the limit
//   price = "9.90"              # credits, for the invoice; the ledger does not use it
//   days = 90                   # a bundle's life (0: for ever) or a subscription's period
//   rollover_st = "0"           # subscriptions: at most this much goes into the next period
//   priority = 10               # lower burns first
//   models = ["llama-*"]        # and classes = [...]: only these; left out: all
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/service.h"
#include "market/funding/plan.h"

namespace tg::market {

inline constexpr i64 kPlansMax = 1'000;
inline constexpr i64 kPlanPatternsMax = 64;
inline constexpr u64 kCatalogueBytesMax = 1 << 20;
inline constexpr i64 kPlanAmountMax = 1'000'000'000'000'000'000;  // nano-ST; 10^9 ST.
inline constexpr i64 kPlanDaysMax = 36'500;

struct Plan {
  std::string name;
  SourceKind kind = SourceKind::kBundle;
  i64 amount = 0;  // nano-ST
  i64 rollover_max = 0;
  i64 price_ucredit = 0;
  i64 days = 0;
  u32 priority = 100;
  Restriction allowed;
  // ledger::Account::product of what is sold under it: from its name, never 0.
  u32 product() const;
};

// kInvalid with file, line, field and value; also if two plans have one name or one product.
Result<std::vector<Plan>> parse_catalogue(std::string_view toml, std::string_view file);

// nullptr if none has that product: the plan was withdrawn, and what was sold under it needs one.
const Plan* find_plan(const std::vector<Plan>& plans, u32 product);

struct Sale {
  u128 owner = 0;
  u128 purchase = 0;  // Names the sale: the same purchase sells once.
  Timestamp at;
};
u128 account_of(const Plan& plan, const Sale& sale);
// Opens the account and grants the bundle, the subscription's period 0 or the credit limit.
ledger::Request sale_request(const FundingBooks& books, const Plan& plan, const Sale& sale);

// The source that an account sold under `plan` is now.
FundingSource source_of(const Plan& plan, const ledger::Account& account);

// The subscription's period that `now` is in, counted from its sale. REQUIRES: a subscription,
// now not before the account's sale.
u64 period_of(const Plan& plan, const ledger::Account& account, Timestamp now);
// The refill of that period, attempt 0; period 0 was granted by the sale.
Refill refill_of(const Plan& plan, u64 period);

}  // namespace tg::market
