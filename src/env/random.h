// Randomness as a parameter. OsRandom is the only door to the operating system's entropy;
// SeededRandom is what simulations and tests use.
#pragma once

#include <array>
#include <span>

#include "base/philox.h"
#include "base/types.h"

namespace tg {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<u8> out) = 0;
  u64 next_u64();
};

class OsRandom final : public Random {
 public:
  void fill(std::span<u8> out) override;
};

// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough for tests and simulation.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(u64 seed) : state_(seed) {}
  void fill(std::span<u8> out) override;
  u64 next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  u64 below(u64 bound) { return next() % bound; }
  // Uniform in [0, 1).
  f64 uniform() { return static_cast<f64>(next() >> 11) * 0x1.0p-53; }

 private:
  u64 state_;
};

}  // namespace tg
