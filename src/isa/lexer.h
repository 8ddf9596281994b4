// Tokens of the text assembly, one line at a time. Lines are the statements; `;` starts a comment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::isa {

// kValue: %name; kSymbol: $name; kDirective: .name; kWord: a name or number; kText: a quoted
// string; kPunct: one character, or "->" or "<=".
enum class TokenKind : u8 { kValue, kSymbol, kDirective, kWord, kText, kPunct, kEnd };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text;  // Without the sigil or quotes; borrowed from the source.
};

// The tokens of one line, without the comment; ends with a kEnd token. `line` is for messages.
Result<std::vector<Token>> tokenize_line(std::string_view text, i64 line);

// "line 12: message".
Error at_line(i64 line, std::string message);

// Walks the tokens of a line.
class TokenCursor {
 public:
  TokenCursor(std::vector<Token> tokens, i64 line) : tokens_(std::move(tokens)), line_(line) {}

  const Token& peek() const { return tokens_[at_]; }
  // The token after the next one; the end token if there is none.
  const Token& second() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_end() const { return peek().kind == TokenKind::kEnd; }
  bool is(std::string_view punct) const {
    return peek().kind == TokenKind::kPunct && peek().text == punct;
  }
  bool is_word(std::string_view word) const {
    return peek().kind == TokenKind::kWord && peek().text == word;
  }
  // Consumes the punctuation if it is next.
  bool accept(std::string_view punct);
  bool accept_word(std::string_view word);
  Status expect(std::string_view punct);
  Status expect_word(std::string_view word);
  // The next token's text; an error naming `what` if it is of another kind.
  Result<std::string_view> take(TokenKind kind, std::string_view what);
  Status expect_end();
  // "line 12: expected WHAT, found 'x'".
  Error unexpected(std::string_view what) const;
  Error error(std::string message) const { return at_line(line_, std::move(message)); }
  i64 line() const { return line_; }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  i64 line_;
};

}  // namespace tg::isa
