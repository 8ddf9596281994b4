// The rope frequencies of a model with all scaling folded in (isa.md §4.4): the program carries one
// constant table, and no backend knows any scaling scheme. Linear, YaRN (Peng et al. 2023) and the
// banded scaling of Llama 3.1, the latter as metadata or as the tensor rope_freqs.weight.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/architecture/keys.h"
#include "model/gguf/reader.h"

namespace tg::model {

struct RopeTable {
  std::vector<f32> inverse_frequencies;  // [rotated / 2], radians per position
  f32 magnitude = 1;                     // multiplies the rotated q and k (YaRN)
};

// The banded scaling of Llama 3.1: long wavelengths are stretched by `factor`, short ones are kept,
// those between are interpolated.
struct BandedScaling {
  f64 factor = 8;
  f64 low = 1;
  f64 high = 4;
  f64 original_context = 8'192;
};

// Divisors of the plain frequencies, as rope_freqs.weight stores them. [rotated / 2]
std::vector<f32> banded_divisors(const BandedScaling& scaling, f64 base, i64 rotated);

// REQUIRES: rotated is even and positive.
Result<RopeTable> read_rope_table(const gguf::File& file, const Keys& keys, i64 rotated,
                                  i64 context);

}  // namespace tg::model
