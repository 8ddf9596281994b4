// Whose a device's energy is: everybody who took part in some of its time has what his own part of
// that time took, and an equal part of what was nobody's own. The rule of simulated devices and of
// live ones alike; over all who took part it is the whole.
#pragma once

#include <algorithm>

#include "base/types.h"

namespace tg::fleet {

struct EnergySplit {
  f64 joules_per_ns = 0;
  f64 shared_ns = 0;  // of nobody's own time, the part of each

  f64 joules(f64 own_ns) const { return joules_per_ns * (shared_ns + own_ns); }
};

// `joules` were drawn in `ns`, of which `own_ns` were somebody's own, by `parts` who took part (>
// 0).
inline EnergySplit split_energy(f64 joules, f64 ns, f64 own_ns, i64 parts) {
  f64 all_ns = std::max(ns, own_ns);
  if (all_ns <= 0) return {};
  return {.joules_per_ns = joules / all_ns,
          .shared_ns = (all_ns - own_ns) / static_cast<f64>(parts)};
}

}  // namespace tg::fleet
