// How a program's ops use its weights (TG_USE_* of abi.h): what the host tells a backend when it
// packs.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::backend {

// The TG_USE_* bit of operand `index` of `op`. REQUIRES: the operand may be a weight.
u16 weight_use(isa::Opcode op, std::size_t index);

// Bits by [symbol][layer]; 0 where no op of `flat` reads the weight.
std::vector<std::vector<u16>> weight_uses(const isa::Program& program,
                                          const isa::FlatProgram& flat);

}  // namespace tg::backend
