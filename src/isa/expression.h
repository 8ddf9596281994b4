// Integer expressions of the text assembly: constants, `.cfg` names and the step symbols T, S, R,
// evaluated while parsing to a linear form.
#pragma once

#include <map>
#include <string>

#include "isa/lexer.h"
#include "isa/program.h"

namespace tg::isa {

using Config = std::map<std::string, i64, std::less<>>;

// A sum of products with exact division; kInvalid if the result is not a linear form with
// non-negative coefficients or does not fit.
Result<Dim> parse_dim(TokenCursor& cursor, const Config& config);
// The same, without step symbols, in [0, max].
Result<i64> parse_integer(TokenCursor& cursor, const Config& config, i64 max);
// "f32[T,d]", "perm[T,k,E]", "batch" or "params".
Result<Type> parse_type(TokenCursor& cursor, const Config& config);
// "[d0,d1]" of constants.
Result<std::vector<i64>> parse_shape(TokenCursor& cursor, const Config& config);

// Decimal or 0x digits; nothing else, no sign.
Result<i64> parse_digits(const TokenCursor& cursor, std::string_view word);

// The way back: "T", "2*T+1", "4096".
std::string to_text(const Dim& dim);
std::string to_text(const Type& type);
std::string shape_text(std::span<const i64> dims);

}  // namespace tg::isa
