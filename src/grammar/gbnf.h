// GBNF, llama.cpp's way to write grammars: `name ::= alternatives`, "literals" and [classes] with
// escapes (\n \r \t \\ \" \[ \] \- \xHH \uHHHH \UHHHHHHHH), '.', ( ), |, * + ? {m} {m,} {m,n} {,n},
// # comments. The rule `root` is the whole text. Line breaks count as spaces: a rule ends where the
// next begins. Left recursion is refused (machine.h), as are elements that name tokens (<...>).
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace tg::grammar {

inline constexpr i64 kGbnfBytesMax = i64{128} << 10;
inline constexpr i64 kGbnfDepthMax = 64;

// kInvalid, with the line, for what is not GBNF; kUnsupported for what is not here.
Result<Grammar> parse_gbnf(std::string_view text);

}  // namespace tg::grammar
