// Who may ask for what: keys belong to projects, projects to teams, teams to organisations, and
// each of the four levels may limit what is below it. Plain data, read from gateway.db into an
// immutable directory (directory.h); a request carries the part that concerns its key.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/clock.h"
#include "fleet/supplier.h"

namespace tg::gateway {

enum class Level : u8 { kOrganisation, kTeam, kProject, kKey };
inline constexpr std::size_t kLevels = 4;
// "organisation", "team", "project", "key".
std::string_view name(Level level);

// What a key may be used for.
enum class Scope : u8 {
  kInference,  // completions, counting, estimates, stored responses
  kUsageRead,  // receipts and usage of the key's account
  kAdminRead,  // GET below /admin/v1
  kAdmin,      // all of /admin/v1
};
inline constexpr std::size_t kScopes = 4;
std::string_view name(Scope scope);  // "inference", "usage:read", "admin:read", "admin"
std::optional<Scope> scope_by_name(std::string_view text);

struct ScopeSet {
  u8 bits = 0;

  static ScopeSet of(std::span<const Scope> scopes);
  static ScopeSet standard();  // inference and usage:read
  // admin includes admin:read.
  bool has(Scope scope) const;
  std::vector<Scope> list() const;
  friend bool operator==(const ScopeSet&, const ScopeSet&) = default;
};

// Sliding windows of a minute, and how many at once. 0: no limit.
struct RateLimits {
  i64 requests_per_minute = 0;
  i64 tokens_per_minute = 0;  // prompt and output
  i64 nst_per_minute = 0;     // nominal work, nano-ST
  i64 concurrent = 0;

  bool is_unlimited() const { return *this == RateLimits{}; }
  friend bool operator==(const RateLimits&, const RateLimits&) = default;
};

enum class BudgetPeriod : u8 { kTotal, kDay, kWeek, kMonth };
inline constexpr std::size_t kBudgetPeriods = 4;
std::string_view name(BudgetPeriod period);  // "total", "day", "week", "month"
std::optional<BudgetPeriod> period_by_name(std::string_view text);

// nano-ST that may be charged in a period (UTC; weeks begin on Monday). `generation` counts how
// often the amount was lowered: each time what the ledger granted before ends (budget_keeper.h).
struct Budget {
  std::string id;  // "bud_" + 16 hex digits
  BudgetPeriod period = BudgetPeriod::kTotal;
  i64 amount_nst = 0;
  i64 generation = 0;
};
// One total and one periodic budget a level: eight in a request's chain (market::kLimitsMax).
inline constexpr std::size_t kBudgetsPerSubjectMax = 2;

std::string_view name(fleet::ServiceClass service);  // "interactive", "standard", "batch"
std::optional<fleet::ServiceClass> service_by_name(std::string_view text);

// Allow-list of model names; "*" stands for any characters. Empty allows all.
using ModelPatterns = std::vector<std::string>;
bool matches(std::string_view pattern, std::string_view model);
bool allows(const ModelPatterns& patterns, std::string_view model);

// What each level says about what is below it.
struct Policy {
  RateLimits limits;
  ModelPatterns models;
  // The best class that requests may have; a key's own is the class its requests get.
  fleet::ServiceClass service = fleet::ServiceClass::kInteractive;
  i64 weight = 1;  // Share among its siblings when they compete; organisations and projects.
};
inline constexpr i64 kWeightMax = 1'000;

// One node of the tree, as requests see it.
struct Subject {
  u64 number = 0;  // Of the id; unique among all subjects.
  Level level = Level::kKey;
  std::string id;
  std::string name;
  Policy policy;
  std::vector<Budget> budgets;
  bool is_suspended = false;
};

// Everything that applies to a key's requests. Immutable, and shared because requests outlive the
// directory they began under.
struct Standing {
  ScopeSet scopes;
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;  // The worst of the levels.
  std::array<std::shared_ptr<const Subject>, kLevels> levels;    // By Level; none is null.

  const Subject& at(Level level) const { return *levels[static_cast<std::size_t>(level)]; }
  bool allows_model(std::string_view model) const;
  // The highest level that is suspended.
  const Subject* suspended() const;
};

}  // namespace tg::gateway
