// Where a program's weights are in memory: canonical bytes by weight symbol and layer, borrowed
// from whoever mapped the file. What model/ hands to backend/ without either knowing the other.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::isa {

struct WeightTable {
  // by_symbol[symbol][layer]: rows x row_bytes(codec), row-major; one entry for a symbol without
  // layers.
  std::vector<std::vector<std::span<const u8>>> by_symbol;
};

}  // namespace tg::isa
