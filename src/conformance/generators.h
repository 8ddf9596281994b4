// The six data sets of isa.md 9.3: numbers that find what uniform noise does not. Everything
// follows from a name and a seed, so that anyone can make the same bits again.
#pragma once

#include <span>
#include <string_view>

#include "base/types.h"

namespace tg::conformance {

enum class Generator : u8 { kNormal, kZeros, kWide, kCancel, kMixed, kHalfZeros, kCount };

std::string_view name(Generator generator);

struct Recipe {
  Generator generator = Generator::kNormal;
  u64 seed = 0;
  i64 columns = 1;
  int span = 12;           // kWide: exponents -span..span; kMixed: half of it
  bool is_weight = false;  // kCancel: weights repeat, inputs change sign
  f64 scale = 1;
};

// Fills `out` row by row: SplitMix64 from the seed, Gaussian by Box and Muller in f64.
void generate(const Recipe& recipe, std::span<f32> out);

// FNV-1a, 64 bits: how a tensor's name becomes its seed.
u64 seed_of(std::string_view text);

}  // namespace tg::conformance
