// Attributes between text and words, both ways, driven by the opcode table.
#pragma once

#include <string>
#include <vector>

#include "isa/expression.h"
#include "isa/lexer.h"
#include "isa/program.h"

namespace tg::isa {

// "{eps=1e-5 heads=H window=cyc(4096,0)}"; canonical: sorted by key, defaults left out, cycles at
// their shortest period.
Result<std::vector<Attribute>> parse_attributes(TokenCursor& cursor, const Config& config,
                                                const OpInfo& op);
std::string to_text(const OpInfo& op, const Attribute& attribute);

// A decimal float (or 0x bit pattern) with optional sign, as f32 bits.
Result<u32> parse_real(TokenCursor& cursor);
// Shortest decimal that reads back to the same bits.
std::string real_text(u32 bits);

// Shortens `words` to the smallest period that repeats to it.
void shorten_cycle(std::vector<u32>& words);

}  // namespace tg::isa
