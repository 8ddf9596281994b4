// Regular expressions as grammars: what languages agree on and schemas use. Characters, '.',
// classes with ranges and negation, \d \w \s and their opposites, escapes (\n \r \t \f \v \0 \xHH
// \uHHHH \u{H...} and any ASCII sign), groups (plain, non-capturing, named), alternatives, * + ?
// {m} {m,} {m,n} (lazy forms match the same texts), ^ and $ at the two ends of the expression or of
// its alternatives. '.' and the classes are ECMAScript's. kUnsupported, with the place, for what is
// not regular or not here: lookaround, back references, \b, \p{..}, anchors elsewhere, possessive
// and inline flags.
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace tg::grammar {

inline constexpr i64 kRegexBytesMax = 16384;
inline constexpr i64 kRegexDepthMax = 64;

struct RegexOptions {
  // Characters are written as in a JSON string: what cannot stand there as itself is escaped.
  bool is_json = false;
  // Without ^ (or $) any text may stand before (after) it, as a schema's pattern has it; otherwise
  // the expression is the whole text.
  bool is_search = false;
};

// Adds the expression to `grammar`; its index there. kInvalid if it is no regular expression,
// kLimit past a limit.
Result<i32> add_regex(Grammar& grammar, std::string_view pattern, const RegexOptions& options);

// One character of `set` as JSON writes it inside a string, in one way: itself, or \" \\ \n \r \t
// \b \f, or \u00hh.
i32 add_json_chars(Grammar& grammar, const CharSet& set);

// A grammar of exactly what `pattern` matches from end to end.
Result<Grammar> parse_regex(std::string_view pattern);

}  // namespace tg::grammar
