// A program for people: identity, sections, weights, caches and cost, as `program show` prints
// them.
#pragma once

#include <string>

#include "isa/program.h"

namespace tg::isa {

std::string summarize(const VerifiedProgram& program);

}  // namespace tg::isa
