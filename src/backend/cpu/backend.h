// The CPU backend's table of functions. Its devices are the same cores seen through each kernel
// variant they support, best first: device 0 is the one to use, the others are there to be
// compared.
#pragma once

#include "backend/abi.h"

namespace tg::backend::cpu {

const tg_backend* cpu_backend();

}  // namespace tg::backend::cpu
