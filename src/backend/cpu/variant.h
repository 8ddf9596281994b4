// Which compiled variants of the kernels this machine can run.
#pragma once

#include <span>

#include "backend/cpu/kernels/args.h"

namespace tg::backend::cpu {

// Best first; never empty.
std::span<const Kernels* const> supported_variants();

}  // namespace tg::backend::cpu
