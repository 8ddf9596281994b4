// Who pays: prepaid bundles, subscriptions and credit lines, each one ledger account with limited
// debits, and the order in which they burn. Budgets of keys, teams and organisations are accounts
// too, charged beside the sources, so that no counter can race (gateways.md §4).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "env/clock.h"
#include "ledger/types.h"

namespace tg::market {

enum class SourceKind : u8 { kBundle, kSubscription, kCreditLine };

// Empty lists allow everything. Entries are exact, or a prefix and "*".
struct Restriction {
  std::vector<std::string> models;
  std::vector<std::string> services;
};

// A ledger account and what the ledger does not know of it.
struct FundingSource {
  u128 account = 0;
  SourceKind kind = SourceKind::kBundle;
  u32 priority = 0;    // Lower burns first.
  i64 expires_ns = 0;  // Not usable for new holds from then on; 0 = never.
  Restriction allowed;
  u128 available = 0;  // ledger::available() when the view was taken.
};

// A budget: holds and posts of a request are repeated on it in full. It shares no ledger with what
// it limits, so that no sum counts the same amount twice.
struct BudgetLimit {
  u128 account = 0;  // kDebitsMustNotExceedCredits; granted per period.
  u128 sink = 0;
  u32 ledger = 0;
  u128 available = 0;
};

// A view may be old: the ledger decides, and a refused plan is planned again from a new view.
struct FundingView {
  std::vector<FundingSource> sources;
  std::vector<BudgetLimit> limits;
};

// Accounts of one hold; longer chains cost every request's latency (money.md §5.3).
inline constexpr std::size_t kDrawsMax = 8;
inline constexpr std::size_t kLimitsMax = 8;

struct FundingRequest {
  std::string_view model;
  std::string_view service;
  Timestamp now;
};

bool is_usable(const FundingSource& source, const FundingRequest& request);
// Usable sources by priority, expiry (never last), account id. Borrowed.
std::vector<const FundingSource*> burn_order(std::span<const FundingSource> sources,
                                             const FundingRequest& request);

struct Draw {
  u128 account = 0;
  u128 amount = 0;
  friend bool operator==(const Draw&, const Draw&) = default;
};
u128 sum(std::span<const Draw> draws);

// Up to `amount` from the sources in order, on top of `held` (what is already reserved, kept as it
// is and in its place): at most kDrawsMax accounts in all. The result may sum to less.
std::vector<Draw> allocate(std::span<const FundingSource* const> ordered, u128 amount,
                           std::span<const Draw> held = {});

// The least that any limit still allows; `amount` if none is tighter.
u128 within_limits(std::span<const BudgetLimit> limits, u128 amount);

}  // namespace tg::market
