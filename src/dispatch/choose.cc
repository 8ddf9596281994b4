#include "dispatch/choose.h"

#include <algorithm>

#include "base/assert.h"
#include "dispatch/policy/rules.h"

namespace tg::dispatch {

namespace {

using Rule = u32 (*)(const Scene& scene);

struct Entry {
  Policy policy;
  std::string_view name;
  Rule rule;  // none: the shipped one
};

constexpr std::array<Entry, static_cast<std::size_t>(Policy::kCount)> kPolicies{{
    {Policy::kPredicted, "tokengrid", nullptr},
    {Policy::kRoundRobin, "round-robin", round_robin},
    {Policy::kRandom, "random", random_supplier},
    {Policy::kPowerOfTwo, "power-of-two", power_of_two},
    {Policy::kLeastRequests, "least-requests", least_requests},
    {Policy::kLeastTokens, "least-tokens", least_tokens},
    {Policy::kSessionHash, "session-hash", session_hash},
    {Policy::kSglangCacheAware, "sglang-cache-aware", sglang_cache_aware},
    {Policy::kLeastUncachedWork, "least-uncached-work", least_uncached_work},
    {Policy::kAibrix, "aibrix", aibrix},
    {Policy::kDynamo, "dynamo", dynamo},
    {Policy::kLlmdScorers, "llm-d-scorers", llmd_scorers},
    {Policy::kProductionStack, "production-stack", production_stack},
    {Policy::kLlmdPredicted, "llm-d-predicted", llmd_predicted},
    {Policy::kPredictedLatency, "predicted-latency", predicted_latency},
}};

const Entry& entry_of(Policy policy) {
  const Entry& entry = kPolicies[static_cast<std::size_t>(policy)];
  TG_ASSERT(entry.policy == policy);
  return entry;
}

bool contains(std::span<const u32> list, u32 supplier) {
  return std::find(list.begin(), list.end(), supplier) != list.end();
}

Choice decide(const Entry& entry, const Scene& scene) {
  if (entry.rule == nullptr) return predicted(scene);
  Choice c;
  c.supplier = entry.rule(scene);
  if (c.supplier == kNobody) return c;
  c.verdict = Verdict::kSend;
  c.forecast =
      forecast(scene.request, scene.pool, scene.cached, scene.settings, scene.moment, c.supplier);
  return c;
}

// How long until a refused request may find somebody: a guess for Retry-After.
constexpr i64 kRetryAfterNs = 1'000'000'000;

}  // namespace

Excluded exclusion(const RouteRequest& request, const PoolView& pool, const CachedPrefix& cached,
                   u32 supplier) {
  const SupplierTerms& t = pool.terms()[supplier];
  if (!t.is_open) return t.health == Health::kDown ? Excluded::kDown : Excluded::kDraining;
  return exclusion_when_up(request, pool, cached, supplier);
}

Excluded exclusion_when_up(const RouteRequest& request, const PoolView& pool,
                           const CachedPrefix& cached, u32 supplier) {
  const SupplierTerms& t = pool.terms()[supplier];
  const Wishes& w = request.wishes;
  if (!w.allow.empty() && !contains(w.allow, supplier)) return Excluded::kDenied;
  if (!w.deny.empty() && contains(w.deny, supplier)) return Excluded::kDenied;
  if (w.zones != 0 && ((w.zones >> (t.zone % kZonesMax)) & 1) == 0) return Excluded::kZone;
  f64 keys = static_cast<f64>(request.prompt_tokens +
                              std::max(request.output_tokens, request.output_tokens_p90));
  if (keys > t.keys_total) return Excluded::kContext;
  if (w.price_max > 0) {
    f64 hit = supplier < cached.tokens.size() ? static_cast<f64>(cached.tokens[supplier]) : 0;
    f64 price = (static_cast<f64>(request.prompt_tokens) - hit) * t.price.input +
                hit * t.price.cached + static_cast<f64>(request.output_tokens) * t.price.output;
    if (price > w.price_max) return Excluded::kPrice;
  }
  return Excluded::kNo;
}

Choice choose(Policy policy, const RouteRequest& request, const PoolView& pool,
              const CachedPrefix& cached, const RouteSettings& settings, const Moment& moment) {
  const Entry& entry = entry_of(policy);
  Choice c;
  if (settings.waited_max_ns == 0 || request.waited_ns <= settings.waited_max_ns) {
    c = decide(entry, Scene{request, pool, cached, settings, moment, false});
    if (c.supplier == kNobody) {
      c = decide(entry, Scene{request, pool, cached, settings, moment, true});
    }
  }
  if (c.verdict != Verdict::kRefuse) return c;
  for (u32 i = 0; i < pool.size(); ++i) {
    ++c.excluded[static_cast<std::size_t>(exclusion(request, pool, cached, i))];
  }
  c.retry_after_ns = kRetryAfterNs;
  return c;
}

std::string_view policy_name(Policy policy) {
  return entry_of(policy).name;
}

std::optional<Policy> policy_of(std::string_view name) {
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.policy;
  }
  return std::nullopt;
}

std::string_view excluded_name(Excluded excluded) {
  switch (excluded) {
    case Excluded::kNo: return "no";
    case Excluded::kDown: return "down";
    case Excluded::kDraining: return "draining";
    case Excluded::kDenied: return "denied";
    case Excluded::kZone: return "zone";
    case Excluded::kContext: return "context";
    case Excluded::kPrice: return "price";
    case Excluded::kCount: break;
  }
  return "?";
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSend: return "send";
    case Verdict::kHold: return "hold";
    case Verdict::kRefuse: return "refuse";
  }
  return "?";
}

}  // namespace tg::dispatch
