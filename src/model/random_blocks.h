// Random weights made directly in a codec's blocks, as fast as random bits come, with scales chosen
// so that elements have mean zero and a standard deviation near the one asked for: a model of such
// weights computes finite, varied activations at any depth.
#pragma once

#include <span>

#include "base/types.h"
#include "env/random.h"
#include "isa/dtype.h"

namespace tg::model {

inline constexpr f32 kRandomDeviation = 0.02f;

bool can_fill_random(isa::DType codec);

// Overwrites `out` with whole blocks. REQUIRES: can_fill_random(codec), out.size() is a multiple of
// the codec's block bytes, deviation > 0.
void fill_random(isa::DType codec, SeededRandom& random, std::span<u8> out,
                 f32 deviation = kRandomDeviation);

// Gains of a norm: f32 in [0.9, 1.1). REQUIRES: out.size() % 4 == 0.
void fill_random_gains(SeededRandom& random, std::span<u8> out);

}  // namespace tg::model
