// Philox4x32-10 (Salmon et al., SC'11): four 32-bit words that depend only on key and counter, so a
// draw is the same wherever and in whatever order it is made. The generator that the ISA's `sample`
// op prescribes.
#pragma once

#include <array>

#include "base/types.h"

namespace tg {

std::array<u32, 4> philox4x32_10(std::array<u32, 2> key, std::array<u32, 4> counter);

}  // namespace tg
