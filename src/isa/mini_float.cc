#include "isa/mini_float.h"

#include <algorithm>
#include <cmath>

namespace tg::isa {

f64 round_mini(const MiniFloat& format, f64 x) {
  if (x == 0.0) return x;
  int exponent = std::max(std::ilogb(x), format.least);
  f64 quantum = std::ldexp(1.0, exponent - format.fraction);
  return std::clamp(std::nearbyint(x / quantum) * quantum, -format.max, format.max);
}

}  // namespace tg::isa
