// Rounding to the small floats that activations are quantised to (spec/isa.md, section 3).
#pragma once

#include "base/types.h"

namespace tg::isa {

// `fraction` explicit bits, normal down to 2^least, at most `max`.
struct MiniFloat {
  int fraction;
  int least;
  f64 max;
};
inline constexpr MiniFloat kE4m3{3, -6, 448.0};
inline constexpr MiniFloat kE2m1{1, 0, 6.0};

// To nearest even; saturates.
f64 round_mini(const MiniFloat& format, f64 x);

}  // namespace tg::isa
