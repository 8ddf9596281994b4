#include "gateway/access/identity.h"

#include <algorithm>

namespace tg::gateway {
namespace {

constexpr std::string_view kLevelNames[] = {"organisation", "team", "project", "key"};
constexpr std::string_view kScopeNames[] = {"inference", "usage:read", "admin:read", "admin"};
constexpr std::string_view kPeriodNames[] = {"total", "day", "week", "month"};
constexpr std::string_view kServiceNames[] = {"interactive", "standard", "batch"};

template <typename Enum, std::size_t kCount>
std::optional<Enum> by_name(const std::string_view (&names)[kCount], std::string_view text) {
  const std::string_view* found = std::find(names, names + kCount, text);
  if (found == names + kCount) return std::nullopt;
  return static_cast<Enum>(found - names);
}

}  // namespace

std::string_view name(Level level) {
  return kLevelNames[static_cast<std::size_t>(level)];
}
std::string_view name(Scope scope) {
  return kScopeNames[static_cast<std::size_t>(scope)];
}
std::optional<Scope> scope_by_name(std::string_view text) {
  return by_name<Scope>(kScopeNames, text);
}
std::string_view name(BudgetPeriod period) {
  return kPeriodNames[static_cast<std::size_t>(period)];
}
std::optional<BudgetPeriod> period_by_name(std::string_view text) {
  return by_name<BudgetPeriod>(kPeriodNames, text);
}
std::string_view name(fleet::ServiceClass service) {
  return kServiceNames[static_cast<std::size_t>(service)];
}
std::optional<fleet::ServiceClass> service_by_name(std::string_view text) {
  return by_name<fleet::ServiceClass>(kServiceNames, text);
}

ScopeSet ScopeSet::of(std::span<const Scope> scopes) {
  ScopeSet set;
  for (Scope scope : scopes) set.bits = static_cast<u8>(set.bits | 1u << static_cast<u8>(scope));
  return set;
}

ScopeSet ScopeSet::standard() {
  constexpr Scope kStandard[] = {Scope::kInference, Scope::kUsageRead};
  return of(kStandard);
}

bool ScopeSet::has(Scope scope) const {
  if ((bits >> static_cast<u8>(scope) & 1u) != 0) return true;
  return scope == Scope::kAdminRead && has(Scope::kAdmin);
}

std::vector<Scope> ScopeSet::list() const {
  std::vector<Scope> scopes;
  for (std::size_t i = 0; i < kScopes; ++i) {
    if ((bits >> i & 1u) != 0) scopes.push_back(static_cast<Scope>(i));
  }
  return scopes;
}

bool matches(std::string_view pattern, std::string_view model) {
  // Greedy with one way back, to the last star: linear but for the product of the two sizes.
  std::size_t p = 0;
  std::size_t m = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (m < model.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = m;
    } else if (p < pattern.size() && pattern[p] == model[m]) {
      ++p;
      ++m;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      m = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool allows(const ModelPatterns& patterns, std::string_view model) {
  if (patterns.empty()) return true;
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches(pattern, model); });
}

bool Standing::allows_model(std::string_view model) const {
  return std::all_of(levels.begin(), levels.end(),
                     [&](const auto& subject) { return allows(subject->policy.models, model); });
}

const Subject* Standing::suspended() const {
  for (const std::shared_ptr<const Subject>& subject : levels) {
    if (subject->is_suspended) return subject.get();
  }
  return nullptr;
}

}  // namespace tg::gateway
