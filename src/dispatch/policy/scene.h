// What a rule is given, and how it looks at those who may serve: a rule is a score, or an order of
// filters, over candidates. Equals are told apart by the moment's random word, so that gateways
// that see the same pool do not all pick the same one.
#pragma once

#include "dispatch/choose.h"

namespace tg::dispatch {

struct Scene {
  const RouteRequest& request;
  const PoolView& pool;
  const CachedPrefix& cached;
  const RouteSettings& settings;
  const Moment& moment;
  bool takes_suspects = false;  // nobody else is left

  bool is_candidate(u32 supplier) const {
    if (pool.terms()[supplier].health == Health::kSuspect && !takes_suspects) return false;
    return exclusion(request, pool, cached, supplier) == Excluded::kNo;
  }
  i64 cached_tokens(u32 supplier) const {
    return supplier < cached.tokens.size() ? cached.tokens[supplier] : 0;
  }
  i64 requests(u32 supplier) const { return pool.at(supplier).running + pool.at(supplier).waiting; }
};

// SplitMix64's finaliser: an order of suppliers that depends on the random word alone.
inline u64 mix(u64 word) {
  word += 0x9e3779b97f4a7c15ull;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ull;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebull;
  return word ^ (word >> 31);
}

// The candidate of the least score(supplier), or kNobody.
template <typename Score>
u32 least(const Scene& scene, Score score) {
  u32 best = kNobody;
  decltype(score(u32{0})) best_score{};
  for (u32 i = 0; i < scene.pool.size(); ++i) {
    if (!scene.is_candidate(i)) continue;
    auto s = score(i);
    bool wins = best == kNobody || s < best_score ||
                (s == best_score && mix(scene.moment.random ^ i) < mix(scene.moment.random ^ best));
    if (!wins) continue;
    best = i;
    best_score = s;
  }
  return best;
}

// The candidate that is `rank`-th in order of index; REQUIRES: rank < candidates(scene).
u32 nth_candidate(const Scene& scene, u32 rank);
u32 candidates(const Scene& scene);

}  // namespace tg::dispatch
