// What the CPU runs: its capability rows.
#pragma once

#include <vector>

#include "backend/abi.h"

namespace tg::backend::cpu {

std::vector<tg_row> capability_rows();

}  // namespace tg::backend::cpu
