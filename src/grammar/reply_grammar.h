// The grammar of a whole reply: reasoning, text under a schema or grammar, calls of tools whose
// arguments follow their schemas. Control tokens stand in it under names that no text can have
// (TokenTable), so that free text never holds one by accident.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/reply_shape.h"

namespace tg::grammar {

inline constexpr i64 kToolsMax = 512;

// A control token's text in grammars: between bytes that UTF-8 does not have.
std::string marker_text(std::string_view marker);
// `text` with every one of `markers` in it as marker_text has it; the longest that fits counts.
std::string with_markers(std::string_view text, std::span<const std::string> markers);

// Errors as parse_json_schema, parse_regex and parse_gbnf; of a tool's schema they begin with
// "tool 'NAME': ". kUnsupported for a shape without text and calls. `markers`: control tokens of
// the vocabulary that replies may hold.
Result<Grammar> reply_grammar(const ReplyShape& shape, std::span<const std::string> markers);

}  // namespace tg::grammar
