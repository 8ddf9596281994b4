// Back from tables to frequencies. ONNX files carry cos(p*f) and sin(p*f) for every position p; the
// ISA carries the frequencies f, so that a program has 64 numbers where the file has millions. The
// way back is checked: the frequencies must give the tables again, or the file is refused.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/onnx/graph.h"

namespace tg::onnx {

inline constexpr i64 kRotaryPairsMax = 4'096;

struct RotaryTable {
  std::vector<f32> inverse_frequencies;  // [rotated / 2], radians per position
  f32 magnitude = 1;                     // that the tables are scaled by
  i64 positions = 0;                     // rows of the tables
};

// cos and sin are [positions, rotated/2] with their data attached. kInvalid if they have other
// shapes, kUnsupported if no frequencies give them within the rounding of their type.
Result<RotaryTable> recover_rotary(const Tensor& cos, const Tensor& sin);

}  // namespace tg::onnx
