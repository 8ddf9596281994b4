// How a program's ops use its weights (TG_USE_* of abi.h): what the host tells a backend when it
// packs.
#pragma once

#include <vector>

#include "base/result.h"
#include "isa/program.h"

namespace tg::backend {

// The TG_USE_* bit of operand `index` of `op`. REQUIRES: the operand may be a weight.
u16 weight_use(isa::Opcode op, std::size_t index);

// Bits by [symbol][layer] over all functions, which share one packed copy; 0 where no op reads the
// weight.
Result<std::vector<std::vector<u16>>> weight_uses(const isa::VerifiedProgram& program);

}  // namespace tg::backend
