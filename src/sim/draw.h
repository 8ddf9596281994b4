// Draws from the distributions that traffic and devices are made of, from one seeded stream.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "env/random.h"

namespace tg::sim {

inline f64 exponential(SeededRandom& random, f64 mean) {
  return -mean * std::log(1 - random.uniform());
}

// Box and Muller's; one of the pair.
inline f64 normal(SeededRandom& random) {
  f64 radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

// Marsaglia and Tsang's gamma of mean 1 and the given shape; below 1 by Johnk's power.
inline f64 gamma_of_mean_1(SeededRandom& random, f64 shape) {
  f64 boost = shape < 1 ? std::pow(1 - random.uniform(), 1 / shape) : 1;
  f64 d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
  f64 c = 1 / std::sqrt(9 * d);
  for (;;) {
    f64 x = normal(random);
    f64 v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return boost * d * v / shape;
    }
  }
}

}  // namespace tg::sim
