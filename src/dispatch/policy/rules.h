// The rules that requests are routed by elsewhere, each in its own file, and ours. A rule returns a
// candidate, or kNobody if there is none; only the shipped rule holds requests back.
#pragma once

#include "dispatch/policy/scene.h"

namespace tg::dispatch {

u32 round_robin(const Scene& scene);
u32 random_supplier(const Scene& scene);
u32 power_of_two(const Scene& scene);
u32 least_requests(const Scene& scene);
u32 least_tokens(const Scene& scene);
u32 session_hash(const Scene& scene);
u32 sglang_cache_aware(const Scene& scene);
u32 least_uncached_work(const Scene& scene);
u32 aibrix(const Scene& scene);
u32 dynamo(const Scene& scene);
u32 llmd_scorers(const Scene& scene);
u32 production_stack(const Scene& scene);
u32 llmd_predicted(const Scene& scene);
u32 predicted_latency(const Scene& scene);

// Ours decides everything but the counts of the excluded.
Choice predicted(const Scene& scene);

}  // namespace tg::dispatch
