// Rules that weigh a cached prefix against load: SGLang, LMetric, AIBrix, Dynamo, llm-d and
// production-stack, with their published constants.
#include <algorithm>
#include <cmath>

#include "dispatch/policy/rules.h"

namespace tg::dispatch {

namespace {

f64 match(const Scene& scene, u32 supplier) {
  if (scene.request.prompt_tokens <= 0) return 0;
  return static_cast<f64>(scene.cached_tokens(supplier)) /
         static_cast<f64>(scene.request.prompt_tokens);
}

// Of candidates' requests.
struct Spread {
  i64 least = 0;
  i64 most = 0;
  f64 mean = 0;
  f64 deviation = 0;
};

Spread spread_of_requests(const Scene& scene) {
  Spread s;
  f64 sum = 0;
  f64 squares = 0;
  i64 count = 0;
  for (u32 i = 0; i < scene.pool.size(); ++i) {
    if (!scene.is_candidate(i)) continue;
    i64 requests = scene.requests(i);
    s.least = count == 0 ? requests : std::min(s.least, requests);
    s.most = count == 0 ? requests : std::max(s.most, requests);
    sum += static_cast<f64>(requests);
    squares += static_cast<f64>(requests) * static_cast<f64>(requests);
    ++count;
  }
  if (count == 0) return s;
  s.mean = sum / static_cast<f64>(count);
  s.deviation = std::sqrt(std::max(0.0, squares / static_cast<f64>(count) - s.mean * s.mean));
  return s;
}

constexpr i64 kBlock = 16;  // tokens, of vLLM's and Dynamo's caches

}  // namespace

// SGLang's router: balance when the spread is wide (absolutely and relatively), else the best
// match if it is at least half of the prompt, else the least loaded.
u32 sglang_cache_aware(const Scene& scene) {
  constexpr i64 kSpreadAbsolute = 64;
  constexpr f64 kSpreadRelative = 1.5;
  constexpr f64 kMatchLeast = 0.5;
  Spread s = spread_of_requests(scene);
  bool is_uneven = s.most - s.least > kSpreadAbsolute &&
                   static_cast<f64>(s.most) > kSpreadRelative * static_cast<f64>(s.least);
  if (is_uneven) return least_requests(scene);
  u32 best = least(scene, [&](u32 i) { return -match(scene, i); });
  if (best != kNobody && match(scene, best) > kMatchLeast) return best;
  return least_requests(scene);
}

// LMetric: uncached work times one more than the load; ties by load.
u32 least_uncached_work(const Scene& scene) {
  return least(scene, [&](u32 i) {
    i64 uncached = scene.request.prompt_tokens - scene.cached_tokens(i);
    i64 requests = scene.requests(i);
    return std::pair{(scene.pool.at(i).prompt_tokens + uncached) * (requests + 1), requests};
  });
}

// AIBrix prefix-cache: least requests when the spread exceeds 8; else by match, then requests, the
// first within one deviation of the mean load.
u32 aibrix(const Scene& scene) {
  constexpr i64 kSpreadMost = 8;
  Spread s = spread_of_requests(scene);
  if (s.most - s.least > kSpreadMost) return least_requests(scene);
  u32 best = least(scene, [&](u32 i) {
    bool is_busy = static_cast<f64>(scene.requests(i)) > s.mean + s.deviation;
    bool is_miss = scene.cached_tokens(i) == 0;
    return std::tuple{is_busy || is_miss, -scene.cached_tokens(i), scene.requests(i)};
  });
  return best;
}

// Dynamo: blocks of prompts to compute after the overlap, plus blocks held.
u32 dynamo(const Scene& scene) {
  return least(scene, [&](u32 i) {
    const SupplierView& v = scene.pool.at(i);
    i64 uncached = scene.request.prompt_tokens - scene.cached_tokens(i);
    i64 prompts = std::max<i64>(v.prompt_tokens + uncached, 0) / kBlock;
    i64 held = (v.keys + scene.request.prompt_tokens) / kBlock;
    return prompts + held;
  });
}

// llm-d's (GAIE's) weighted scorers: queue 2, free keys 2, prefix 3, each within 0 and 1.
u32 llmd_scorers(const Scene& scene) {
  i64 queue_least = 0;
  i64 queue_most = 0;
  bool is_first = true;
  for (u32 i = 0; i < scene.pool.size(); ++i) {
    if (!scene.is_candidate(i)) continue;
    i64 queue = scene.pool.at(i).waiting;
    queue_least = is_first ? queue : std::min(queue_least, queue);
    queue_most = is_first ? queue : std::max(queue_most, queue);
    is_first = false;
  }
  return least(scene, [&](u32 i) {
    const SupplierView& v = scene.pool.at(i);
    f64 queue = queue_most == queue_least ? 1.0
                                          : static_cast<f64>(queue_most - v.waiting) /
                                                static_cast<f64>(queue_most - queue_least);
    f64 used = v.keys_total > 0 ? static_cast<f64>(v.keys) / static_cast<f64>(v.keys_total) : 0.0;
    return -(2 * queue + 2 * (1 - std::clamp(used, 0.0, 1.0)) + 3 * match(scene, i));
  });
}

// production-stack prefix-aware: the longest match, whatever the load; without one, the fewest
// requests.
u32 production_stack(const Scene& scene) {
  u32 best = least(scene, [&](u32 i) { return -scene.cached_tokens(i); });
  if (best == kNobody || scene.cached_tokens(best) == 0) return least_requests(scene);
  return best;
}

}  // namespace tg::dispatch
