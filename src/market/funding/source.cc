#include "market/funding/source.h"

#include <algorithm>
#include <tuple>

namespace tg::market {

namespace {

bool matches_any(const std::vector<std::string>& patterns, std::string_view text) {
  if (patterns.empty()) return true;
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    bool is_prefix = !pattern.empty() && pattern.back() == '*';
    std::string_view stem(pattern.data(), pattern.size() - (is_prefix ? 1 : 0));
    return is_prefix ? text.substr(0, stem.size()) == stem : text == stem;
  });
}

bool burns_before(const FundingSource* a, const FundingSource* b) {
  auto key = [](const FundingSource* s) {
    i64 expiry = s->expires_ns == 0 ? INT64_MAX : s->expires_ns;
    return std::tuple(s->priority, expiry, s->account);
  };
  return key(a) < key(b);
}

}  // namespace

bool is_usable(const FundingSource& source, const FundingRequest& request) {
  return (source.expires_ns == 0 || request.now.ns < source.expires_ns) &&
         matches_any(source.allowed.models, request.model) &&
         matches_any(source.allowed.services, request.service);
}

std::vector<const FundingSource*> burn_order(std::span<const FundingSource> sources,
                                             const FundingRequest& request) {
  std::vector<const FundingSource*> out;
  for (const FundingSource& source : sources) {
    if (is_usable(source, request)) out.push_back(&source);
  }
  std::sort(out.begin(), out.end(), burns_before);
  return out;
}

u128 sum(std::span<const Draw> draws) {
  u128 out = 0;
  for (const Draw& draw : draws) out += draw.amount;
  return out;
}

std::vector<Draw> allocate(std::span<const FundingSource* const> ordered, u128 amount,
                           std::span<const Draw> held) {
  std::vector<Draw> out(held.begin(), held.end());
  for (const FundingSource* source : ordered) {
    u128 take = std::min(amount, source->available);
    if (take == 0) continue;
    std::vector<Draw>::iterator known = std::find_if(
        out.begin(), out.end(), [&](const Draw& d) { return d.account == source->account; });
    if (known == out.end() && out.size() == kDrawsMax) continue;
    if (known == out.end()) {
      out.push_back({.account = source->account, .amount = take});
    } else {
      known->amount += take;
    }
    amount -= take;
  }
  return out;
}

u128 within_limits(std::span<const BudgetLimit> limits, u128 amount) {
  for (const BudgetLimit& limit : limits) amount = std::min(amount, limit.available);
  return amount;
}

}  // namespace tg::market
