// Cuts a template into text and the tokens of its tags, and applies white-space control the way
// chat templates are rendered everywhere: trim_blocks and lstrip_blocks on, one trailing newline of
// the source dropped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::jinja {

enum class TokenKind : u8 {
  kText,
  kBlockBegin,  // {%
  kBlockEnd,    // %}
  kPrintBegin,  // {{
  kPrintEnd,    // }}
  kName,
  kString,  // text holds the decoded characters
  kInt,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  i32 line = 0;
  std::string text;
};

inline constexpr i64 kTemplateBytesMax = i64{1} << 20;

// The tokens of `source`, closed by one kEnd.
Result<std::vector<Token>> lex(std::string_view source);

// "chat template line 3: what"
Error error_at(Code code, i32 line, const std::string& what);

}  // namespace tg::jinja
