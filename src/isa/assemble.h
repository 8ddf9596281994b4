// Text assembly to a program as data. The grammar is isa.md §8: directives, then functions whose
// lines are `%result = op operands {attributes} -> type`. Proves nothing: verify() does.
#pragma once

#include <string_view>

#include "isa/program.h"

namespace tg::isa {

// Errors name the line. Limits: kTextBytesMax bytes, kFileBytesMax once encoded.
Result<Program> assemble(std::string_view text);

}  // namespace tg::isa
