// From a graph to a draft, node by node: a table names the operators that onnxruntime-genai's model
// builder writes and what each becomes. What is not in the table, or not in the form the builder
// writes, is refused with one line that names the node. Nothing is matched across nodes here, so a
// decomposed attention is never guessed at.
#pragma once

#include "base/result.h"
#include "model/onnx/draft.h"
#include "model/onnx/graph.h"
#include "model/onnx/weights.h"

namespace tg::onnx {

inline constexpr i64 kOpsetMin = 13;
inline constexpr i64 kOpsetMax = 27;
inline constexpr i64 kLayersMax = 4'095;
inline constexpr i64 kHeadsMax = 65'535;
inline constexpr i64 kWidthMax = i64{1} << 28;  // columns of a value, rows and columns of a weight

// Weights are added to `weights` as they are met; the draft names them by index and borrows
// nothing. REQUIRES: external data is attached.
Result<Draft> lower(const File& file, WeightStore& weights);

}  // namespace tg::onnx
