#include "isa/lexer.h"

#include "base/bytes.h"

namespace tg::isa {

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
static bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

// 1e-5 keeps its sign inside the number; 0x1e-5 is a difference.
static bool is_exponent_sign(std::string_view word, char c) {
  if ((c != '-' && c != '+') || word.size() < 2 || !is_digit(word[0])) return false;
  if (word.back() != 'e' && word.back() != 'E') return false;
  for (char w : word.substr(0, word.size() - 1)) {
    if (!is_digit(w) && w != '.') return false;
  }
  return true;
}

static std::string_view name_at(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() &&
         (is_name_char(text[end]) || is_exponent_sign(text.substr(at, end - at), text[end])))
    ++end;
  return text.substr(at, end - at);
}

Error at_line(i64 line, std::string message) {
  return Error{Code::kInvalid, "line " + std::to_string(line) + ": " + std::move(message)};
}

// A quoted string has no escapes: names and notes need none, and a quote inside is refused.
static Result<Token> quoted(std::string_view text, std::size_t at, i64 line) {
  std::size_t end = text.find('"', at + 1);
  if (end == std::string_view::npos) return at_line(line, "unterminated string");
  std::string_view inside = text.substr(at + 1, end - at - 1);
  if (!is_utf8(inside)) return at_line(line, "a string is not UTF-8");
  return Token{TokenKind::kText, inside};
}

static Result<Token> sigil_name(TokenKind kind, std::string_view text, std::size_t at, i64 line) {
  std::string_view name = name_at(text, at + 1);
  if (name.empty()) return at_line(line, std::string("expected a name after '") + text[at] + "'");
  return Token{kind, name};
}

static Result<Token> token_at(std::string_view text, std::size_t at, i64 line) {
  static constexpr std::string_view kPunctuation = "()[]{},=+-*/<>";
  char c = text[at];
  if (c == '"') return quoted(text, at, line);
  if (c == '%') return sigil_name(TokenKind::kValue, text, at, line);
  if (c == '$') return sigil_name(TokenKind::kSymbol, text, at, line);
  if (c == '.' && (at + 1 == text.size() || !is_digit(text[at + 1])))
    return sigil_name(TokenKind::kDirective, text, at, line);
  if (is_name_char(c)) return Token{TokenKind::kWord, name_at(text, at)};
  std::string_view pair = text.substr(at, 2);
  if (pair == "->" || pair == "<=") return Token{TokenKind::kPunct, pair};
  if (kPunctuation.find(c) != std::string_view::npos)
    return Token{TokenKind::kPunct, text.substr(at, 1)};
  return at_line(line, "unexpected byte 0x" + to_hex(as_bytes(text.substr(at, 1))));
}

Result<std::vector<Token>> tokenize_line(std::string_view text, i64 line) {
  std::vector<Token> tokens;
  std::size_t at = 0;
  while (at < text.size() && text[at] != ';') {
    if (text[at] == ' ' || text[at] == '\t' || text[at] == '\r') {
      ++at;
      continue;
    }
    TG_ASSIGN(Token token, token_at(text, at, line));
    at = static_cast<std::size_t>(token.text.data() - text.data()) + token.text.size();
    if (token.kind == TokenKind::kText) ++at;
    tokens.push_back(token);
  }
  tokens.push_back(Token{});
  return tokens;
}

bool TokenCursor::accept(std::string_view punct) {
  if (!is(punct)) return false;
  next();
  return true;
}

bool TokenCursor::accept_word(std::string_view word) {
  if (!is_word(word)) return false;
  next();
  return true;
}

Status TokenCursor::expect(std::string_view punct) {
  if (!accept(punct)) return unexpected("'" + std::string(punct) + "'");
  return {};
}

Status TokenCursor::expect_word(std::string_view word) {
  if (!accept_word(word)) return unexpected("'" + std::string(word) + "'");
  return {};
}

Result<std::string_view> TokenCursor::take(TokenKind kind, std::string_view what) {
  if (peek().kind != kind) return unexpected(what);
  return next().text;
}

Status TokenCursor::expect_end() {
  if (!at_end()) return unexpected("the end of the line");
  return {};
}

Error TokenCursor::unexpected(std::string_view what) const {
  std::string found = at_end() ? "the end of the line" : "'" + std::string(peek().text) + "'";
  return error("expected " + std::string(what) + ", found " + found);
}

}  // namespace tg::isa
