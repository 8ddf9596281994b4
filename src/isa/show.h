// A program for people: identity, sections, weights, caches, states and cost, as `program show`
// prints them before the text.
#pragma once

#include <string>

#include "isa/program.h"

namespace tg::isa {

std::string summarize(const VerifiedProgram& program);

}  // namespace tg::isa
