// The rope frequencies of a model with all scaling folded in (isa.md §4.4): the program carries one
// constant table, and no backend knows any scaling scheme. Linear, YaRN (Peng et al. 2023), the
// banded scaling of Llama 3.1, the latter as metadata or as the tensor rope_freqs.weight, and the
// two lists of LongRoPE (Ding et al. 2024), of which the program's bound of context picks one.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/architecture/keys.h"
#include "model/gguf/reader.h"

namespace tg::model {

// Tensors of divisors: the banded scaling of Llama 3.1, and LongRoPE's two lists.
inline constexpr std::string_view kDivisorTensor = "rope_freqs.weight";
inline constexpr std::string_view kShortDivisors = "rope_factors_short.weight";
inline constexpr std::string_view kLongDivisors = "rope_factors_long.weight";

struct RopeTable {
  std::vector<f32> inverse_frequencies;  // [rotated / 2], radians per position
  f32 magnitude = 1;                     // multiplies the rotated q and k (YaRN, LongRoPE)
  f32 score_scale = 1;                   // multiplies attention scores (YaRN as DeepSeek has it)
};

struct RopeRequest {
  i64 rotated = 0;             // elements of a head
  i64 context = 0;             // tokens, as the file states it
  i64 bound = 0;               // tokens that the program may be asked for
  bool truncates_yarn = true;  // the ramp begins and ends at whole pairs
  bool scales_scores = false;  // YaRN's magnitude goes into score_scale
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

// Without any scaling. REQUIRES: rotated is even and positive, base > 1.
RopeTable plain_rope_table(f64 base, i64 rotated);

// REQUIRES: request.rotated is even and positive.
Result<RopeTable> read_rope_table(const gguf::File& file, const Keys& keys,
                                  const RopeRequest& request);

}  // namespace tg::model
