// Rules that look at counts only, as in any load balancer.
#include "dispatch/policy/rules.h"

namespace tg::dispatch {

u32 nth_candidate(const Scene& scene, u32 rank) {
  for (u32 i = 0; i < scene.pool.size(); ++i) {
    if (scene.is_candidate(i) && rank-- == 0) return i;
  }
  return kNobody;
}

u32 candidates(const Scene& scene) {
  u32 count = 0;
  for (u32 i = 0; i < scene.pool.size(); ++i) count += scene.is_candidate(i) ? 1 : 0;
  return count;
}

u32 round_robin(const Scene& scene) {
  u32 count = candidates(scene);
  if (count == 0) return kNobody;
  return nth_candidate(scene, static_cast<u32>(scene.moment.sequence % count));
}

u32 random_supplier(const Scene& scene) {
  u32 count = candidates(scene);
  if (count == 0) return kNobody;
  return nth_candidate(scene, static_cast<u32>(mix(scene.moment.random) % count));
}

// Mitzenmacher: of two distinct random ones, the one with fewer requests.
u32 power_of_two(const Scene& scene) {
  u32 count = candidates(scene);
  if (count == 0) return kNobody;
  u32 first_rank = static_cast<u32>(mix(scene.moment.random) % count);
  u32 first = nth_candidate(scene, first_rank);
  if (count == 1) return first;
  u32 step = 1 + static_cast<u32>(mix(scene.moment.random ^ 0x5bd1e995) % (count - 1));
  u32 second = nth_candidate(scene, (first_rank + step) % count);
  return scene.requests(second) < scene.requests(first) ? second : first;
}

u32 least_requests(const Scene& scene) {
  return least(scene, [&](u32 i) { return scene.requests(i); });
}

// Tokens that are still to be computed or output: AIBrix' throughput and vLLM's router count so.
u32 least_tokens(const Scene& scene) {
  return least(scene, [&](u32 i) {
    const SupplierView& v = scene.pool.at(i);
    return v.prompt_tokens + v.output_left;
  });
}

// Rendezvous hashing: a session keeps its supplier while that one is a candidate, and its loss
// moves nobody else. Requests without a session go to the fewest requests, as in production-stack.
u32 session_hash(const Scene& scene) {
  if (scene.request.session == 0) return least_requests(scene);
  return least(scene, [&](u32 i) { return mix(scene.request.session ^ mix(i)); });
}

}  // namespace tg::dispatch
