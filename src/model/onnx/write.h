// From a draft to program text (isa.md §8): declarations, a loop for each run of equal layers, and
// which weights each symbol of the text stands for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/import.h"
#include "model/onnx/draft.h"
#include "model/onnx/weights.h"

namespace tg::onnx {

inline constexpr std::size_t kStepsMax = 65'535;  // as the ISA allows

// One weight symbol of the text.
struct Symbol {
  std::string name;  // without the '$'
  bool is_layered = false;
  std::vector<i32> weights;  // of the store, by layer
};

struct Written {
  std::string text;
  std::vector<Symbol> symbols;  // in the text's order
};

// Tidies the draft (tidy.h) and writes it. `context`: the program's bound. kLimit past kStepsMax.
Result<Written> write(Draft draft, const std::vector<Weight>& weights,
                      const model::ImportOptions& options, i64 context);

}  // namespace tg::onnx
