#include "conformance/generators.h"

#include <cmath>
#include <numbers>

#include "base/assert.h"
#include "env/random.h"

namespace tg::conformance {

namespace {

constexpr std::string_view kNames[] = {"normal", "zeros", "wide", "cancel", "mixed", "half_zeros"};
static_assert(std::size(kNames) == static_cast<std::size_t>(Generator::kCount));

// Every fourth row is zeros, of either sign.
constexpr i64 kZeroRows = 4;

f64 gaussian(SeededRandom& random) {
  f64 radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

f64 sign(SeededRandom& random) {
  return random.below(2) == 0 ? 1.0 : -1.0;
}

// Column c and column c + columns/2 are a pair, so that a sum first grows and then cancels: for
// weights the same number again, for inputs almost its opposite.
f64 second_of(const Recipe& recipe, f64 first, SeededRandom& random) {
  if (recipe.is_weight) return first;
  return -first * (1 + 0x1p-10 * random.uniform());
}

f64 element(const Recipe& recipe, i64 row, SeededRandom& random) {
  switch (recipe.generator) {
    case Generator::kZeros:
      return row % kZeroRows == kZeroRows - 1 ? 0.0 * sign(random) : gaussian(random);
    case Generator::kWide: {
      u64 exponents = static_cast<u64>(2 * recipe.span + 1);
      int exponent = static_cast<int>(random.below(exponents)) - recipe.span;
      return std::ldexp(sign(random) * (1 + random.uniform()), exponent);
    }
    case Generator::kMixed:
      return std::ldexp(gaussian(random),
                        random.below(2) == 0 ? recipe.span / 2 : -recipe.span / 2);
    case Generator::kHalfZeros: return random.below(2) == 0 ? 0.0 : gaussian(random);
    default: return gaussian(random);
  }
}

}  // namespace

std::string_view name(Generator generator) {
  TG_ASSERT(generator < Generator::kCount);
  return kNames[static_cast<std::size_t>(generator)];
}

void generate(const Recipe& recipe, std::span<f32> out) {
  SeededRandom random(recipe.seed);
  i64 half = recipe.columns / 2;
  for (std::size_t i = 0; i < out.size(); ++i) {
    i64 column = static_cast<i64>(i) % recipe.columns;
    bool is_second = recipe.generator == Generator::kCancel && column >= half && column < 2 * half;
    if (is_second) {
      out[i] = static_cast<f32>(second_of(recipe, out[i - static_cast<std::size_t>(half)], random));
    } else {
      f64 value = element(recipe, static_cast<i64>(i) / recipe.columns, random);
      out[i] = static_cast<f32>(value * recipe.scale);
    }
  }
}

u64 seed_of(std::string_view text) {
  u64 hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<u8>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace tg::conformance
