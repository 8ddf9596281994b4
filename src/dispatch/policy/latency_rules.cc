// Rules that predict latency and know no price: llm-d's headroom, and the plain least.
#include "dispatch/policy/rules.h"

namespace tg::dispatch {

namespace {

Forecast look(const Scene& scene, u32 supplier) {
  return forecast(scene.request, scene.pool, scene.cached, scene.settings, scene.moment, supplier);
}

f64 target(i64 wished, i64 setting) {
  return static_cast<f64>(wished > 0 ? wished : setting);
}

}  // namespace

// llm-d's predicted latency: within both targets, the least headroom (bins are packed); if nobody
// is, an idle one, else the least violation. Weighted 0.8 first token, 0.2 per token.
u32 llmd_predicted(const Scene& scene) {
  const Wishes& wishes = scene.request.wishes;
  f64 ttft_target = target(wishes.ttft_target_ns, scene.settings.ttft_target_ns);
  f64 tpot_target = target(wishes.tpot_target_ns, scene.settings.tpot_target_ns);
  return least(scene, [&](u32 i) {
    Forecast f = look(scene, i);
    f64 ttft = (ttft_target - f.ttft_ns) / ttft_target;
    f64 tpot = (tpot_target - f.tpot_ns) / tpot_target;
    f64 headroom = 0.8 * ttft + 0.2 * tpot;
    if (ttft >= 0 && tpot >= 0) return std::pair{0, headroom};
    return std::pair{scene.requests(i) == 0 ? 1 : 2, -headroom};
  });
}

// The least of the time to the first token and to 25 more: a tenth of a typical answer, which
// outdid the first token alone at every load (PolyServe and Lodestar weigh alike).
u32 predicted_latency(const Scene& scene) {
  constexpr f64 kTokens = 25;
  return least(scene, [&](u32 i) {
    Forecast f = look(scene, i);
    return f.ttft_ns + kTokens * f.tpot_ns;
  });
}

}  // namespace tg::dispatch
