// What the shared kernels can run, as capability rows.
#pragma once

#include <vector>

#include "backend/gpu/port.h"

namespace tg::backend::gpu {

std::vector<tg_row> capability_rows(const DeviceFacts& facts);

}  // namespace tg::backend::gpu
