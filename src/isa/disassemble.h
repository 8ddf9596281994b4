// A program as text that assembles back to the same bytes.
#pragma once

#include <string>

#include "isa/program.h"

namespace tg::isa {

// assemble(disassemble(p)) encodes to the bytes of p. Value names are kept where the program has
// them, else %v0, %v1, ... REQUIRES: the program passed verify().
std::string disassemble(const Program& program);

// One instruction without its results and types: "linear %h, $wq[l] {xq=i8/32}".
std::string instruction_text(const Program& program, const Function& function,
                             const Instruction& instruction);

}  // namespace tg::isa
