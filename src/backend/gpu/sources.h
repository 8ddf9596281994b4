// The text of the shared kernels (kernels/*.cl), as this build has it.
#pragma once

#include <string>

#include "backend/gpu/launch.h"

namespace tg::backend::gpu {

// Everything a unit is compiled from, in order.
std::string source_of(Unit unit);

}  // namespace tg::backend::gpu
