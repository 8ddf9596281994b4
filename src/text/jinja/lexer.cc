#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "text/unicode.h"

namespace tg::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_begin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_char(char c) {
  return is_name_begin(c) || is_digit(c);
}

// Longest first, so that the first match is the right one.
constexpr std::array<std::string_view, 27> kOperators = {
    "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">",
    "=",  "(",  ")",  "[",  "]",  "{",  "}", ",", ".", ":", "|", ";", "!"};

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}
  Result<std::vector<Token>> run();

 private:
  enum class Tag { kBlock, kPrint, kComment };

  bool looking_at(std::string_view text) const {
    return std::string_view(source_).substr(at_, text.size()) == text;
  }
  void emit(TokenKind kind, std::string text = {}) {
    tokens_.push_back({kind, line_, std::move(text)});
  }
  void advance(std::size_t to) {
    line_ += static_cast<i32>(std::count(source_.begin() + at_, source_.begin() + to, '\n'));
    at_ = to;
  }
  Status lex_tag(std::size_t begin);
  void emit_text(std::size_t begin, Tag next, char sign);
  Status skip_comment();
  bool try_raw();
  Status lex_expression(Tag tag);
  bool try_tag_end(Tag tag);
  void end_tag(std::string_view end, Tag tag);
  Status lex_token();
  Status lex_string();
  Status lex_escape(std::string& text);
  void lex_number();
  Status lex_operator();

  std::string source_;
  std::size_t at_ = 0;
  i32 line_ = 1;
  // Whether what was consumed last, a tag with the white space it took, ended a line.
  bool is_line_start_ = true;
  std::string open_brackets_;
  std::vector<Token> tokens_;
};

Result<std::vector<Token>> Lexer::run() {
  for (;;) {
    std::size_t begin = at_;
    std::size_t open = source_.find('{', at_);
    while (open != source_.npos &&
           (open + 1 == source_.size() ||
            std::string_view("{%#").find(source_[open + 1]) == std::string_view::npos))
      open = source_.find('{', open + 1);
    if (open == source_.npos) {
      if (begin < source_.size()) emit(TokenKind::kText, source_.substr(begin));
      advance(source_.size());
      emit(TokenKind::kEnd);
      return std::move(tokens_);
    }
    advance(open);
    TG_TRY(lex_tag(begin));
  }
}

// at_ stands on the '{' of a tag; source_[begin, at_) is the text before it.
Status Lexer::lex_tag(std::size_t begin) {
  char kind = source_[at_ + 1];
  Tag tag = kind == '{' ? Tag::kPrint : kind == '%' ? Tag::kBlock : Tag::kComment;
  char sign = at_ + 2 < source_.size() ? source_[at_ + 2] : '\0';
  bool has_sign = sign == '-' || sign == '+';
  emit_text(begin, tag, has_sign ? sign : '\0');
  at_ += has_sign ? 3 : 2;
  if (tag == Tag::kComment) return skip_comment();
  if (tag == Tag::kBlock && try_raw()) return {};
  emit(tag == Tag::kBlock ? TokenKind::kBlockBegin : TokenKind::kPrintBegin);
  return lex_expression(tag);
}

void Lexer::emit_text(std::size_t begin, Tag next, char sign) {
  std::size_t end = at_;
  if (sign == '-') {
    while (end > begin && is_space(source_[end - 1])) --end;
  } else if (sign != '+' && next != Tag::kPrint) {
    std::size_t line = end;
    while (line > begin && source_[line - 1] != '\n' && is_space(source_[line - 1])) --line;
    bool starts_line = line > begin ? source_[line - 1] == '\n' : is_line_start_;
    if (starts_line) end = line;
  }
  if (end > begin) emit(TokenKind::kText, source_.substr(begin, end - begin));
}

Status Lexer::skip_comment() {
  std::size_t end = source_.find("#}", at_);
  if (end == source_.npos) return error_at(Code::kInvalid, line_, "comment is not closed");
  bool strips = end > at_ && source_[end - 1] == '-';
  advance(end);
  end_tag(strips ? "-" : "", Tag::kComment);
  return {};
}

// {% raw %} ... {% endraw %} is text. at_ stands behind "{%".
bool Lexer::try_raw() {
  auto skip_spaces = [&](std::size_t at) {
    while (at < source_.size() && is_space(source_[at])) ++at;
    return at;
  };
  std::size_t at = skip_spaces(at_);
  if (source_.compare(at, 3, "raw") != 0) return false;
  at = skip_spaces(at + 3);
  if (source_.compare(at, 2, "%}") != 0) return false;
  std::size_t begin = at + 2;
  for (std::size_t open = source_.find("{%", begin); open != source_.npos;
       open = source_.find("{%", open + 2)) {
    std::size_t name = skip_spaces(open + 2);
    if (source_.compare(name, 6, "endraw") != 0) continue;
    std::size_t close = skip_spaces(name + 6);
    if (source_.compare(close, 2, "%}") != 0) continue;
    emit(TokenKind::kText, source_.substr(begin, open - begin));
    advance(close);
    end_tag("", Tag::kBlock);
    return true;
  }
  return false;
}

Status Lexer::lex_expression(Tag tag) {
  open_brackets_.clear();
  for (;;) {
    std::size_t next = at_;
    while (next < source_.size() && is_space(source_[next])) ++next;
    advance(next);
    if (at_ == source_.size()) return error_at(Code::kInvalid, line_, "tag is not closed");
    if (open_brackets_.empty() && try_tag_end(tag)) return {};
    TG_TRY(lex_token());
  }
}

bool Lexer::try_tag_end(Tag tag) {
  std::string_view end = tag == Tag::kBlock ? "%}" : "}}";
  char sign = source_[at_];
  bool has_sign = sign == '-' || (sign == '+' && tag == Tag::kBlock);
  if (source_.compare(at_ + (has_sign ? 1 : 0), 2, end) != 0) return false;
  if (has_sign) ++at_;
  emit(tag == Tag::kBlock ? TokenKind::kBlockEnd : TokenKind::kPrintEnd);
  end_tag(has_sign ? std::string_view(sign == '-' ? "-" : "+") : "", tag);
  return true;
}

// at_ stands on the two closing characters: consumes them and the white space they take.
void Lexer::end_tag(std::string_view sign, Tag tag) {
  std::size_t end = at_ + 2;
  if (sign == "-") {
    while (end < source_.size() && is_space(source_[end])) ++end;
  } else if (sign.empty() && tag != Tag::kPrint && end < source_.size() && source_[end] == '\n') {
    ++end;
  }
  is_line_start_ = source_[end - 1] == '\n';
  advance(end);
}

Status Lexer::lex_token() {
  char c = source_[at_];
  if (c == '\'' || c == '"') return lex_string();
  if (is_digit(c)) {
    lex_number();
    return {};
  }
  if (!is_name_begin(c)) return lex_operator();
  std::size_t end = at_;
  while (end < source_.size() && is_name_char(source_[end])) ++end;
  emit(TokenKind::kName, source_.substr(at_, end - at_));
  at_ = end;
  return {};
}

Status Lexer::lex_string() {
  char quote = source_[at_];
  i32 line = line_;
  std::string text;
  for (++at_; at_ < source_.size() && source_[at_] != quote;) {
    if (source_[at_] == '\\') {
      TG_TRY(lex_escape(text));
      continue;
    }
    if (source_[at_] == '\n') ++line_;
    text.push_back(source_[at_++]);
  }
  if (at_ == source_.size()) return error_at(Code::kInvalid, line, "string is not closed");
  ++at_;
  tokens_.push_back({TokenKind::kString, line, std::move(text)});
  return {};
}

// at_ stands on the backslash. What is no escape stays as it is, as in Python.
Status Lexer::lex_escape(std::string& text) {
  constexpr std::string_view kNames = "nrtabfv0\\'\"";
  constexpr std::string_view kMeanings("\n\r\t\a\b\f\v\0\\'\"", 11);
  char name = at_ + 1 < source_.size() ? source_[at_ + 1] : '\0';
  std::size_t digits = name == 'x' ? 2 : name == 'u' ? 4 : name == 'U' ? 8 : 0;
  if (digits > 0) {
    std::string hex = source_.substr(at_ + 2, digits);
    Result<std::vector<u8>> bytes = from_hex(hex);
    u32 code = 0;
    if (bytes.ok()) {
      for (u8 byte : *bytes) code = code << 8 | byte;
    }
    bool is_char = code < kCodePointEnd && (code < 0xD800 || code > 0xDFFF);
    if (hex.size() != digits || !bytes.ok() || !is_char)
      return error_at(Code::kInvalid, line_, std::string("bad escape \\") + name + hex);
    append_utf8(text, code);
    at_ += 2 + digits;
    return {};
  }
  std::size_t known = name == '\0' ? kNames.npos : kNames.find(name);
  if (known != kNames.npos) {
    text.push_back(kMeanings[known]);
    at_ += 2;
  } else if (name == '\n') {
    ++line_;
    at_ += 2;
  } else {
    text.push_back('\\');
    ++at_;
  }
  return {};
}

void Lexer::lex_number() {
  std::size_t begin = at_;
  auto skip_digits = [&] {
    while (at_ < source_.size() && (is_digit(source_[at_]) || source_[at_] == '_')) ++at_;
  };
  auto digit_at = [&](std::size_t at) { return at < source_.size() && is_digit(source_[at]); };
  skip_digits();
  bool is_float = false;
  if (at_ < source_.size() && source_[at_] == '.' && digit_at(at_ + 1)) {
    is_float = true;
    ++at_;
    skip_digits();
  }
  if (at_ < source_.size() && (source_[at_] | 0x20) == 'e') {
    std::size_t sign =
        at_ + 1 < source_.size() && (source_[at_ + 1] == '-' || source_[at_ + 1] == '+');
    if (digit_at(at_ + 1 + sign)) {
      is_float = true;
      at_ += 1 + sign;
      skip_digits();
    }
  }
  std::string text = source_.substr(begin, at_ - begin);
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  emit(is_float ? TokenKind::kFloat : TokenKind::kInt, text);
}

Status Lexer::lex_operator() {
  for (std::string_view op : kOperators) {
    if (!looking_at(op)) continue;
    emit(TokenKind::kOperator, std::string(op));
    at_ += op.size();
    char c = op[0];
    if (c == '(' || c == '[' || c == '{') open_brackets_.push_back(c);
    if (c != ')' && c != ']' && c != '}') return {};
    char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (open_brackets_.empty() || open_brackets_.back() != opening)
      return error_at(Code::kInvalid, line_, std::string("unexpected '") + c + "'");
    open_brackets_.pop_back();
    return {};
  }
  return error_at(
      Code::kInvalid, line_,
      "unexpected character " + to_hex(as_bytes(std::string_view(source_).substr(at_, 1))));
}

// Line ends as "\n", and without the one that closes the file.
std::string normalize_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    bool is_pair = source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n';
    if (!is_pair) text.push_back(source[i] == '\r' ? '\n' : source[i]);
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

Error error_at(Code code, i32 line, const std::string& what) {
  return {code, "chat template line " + std::to_string(line) + ": " + what};
}

Result<std::vector<Token>> lex(std::string_view source) {
  if (source.size() > kTemplateBytesMax) {
    return Error{Code::kLimit, "chat template: " + std::to_string(source.size()) +
                                   " bytes, more than " + std::to_string(kTemplateBytesMax)};
  }
  if (!is_utf8(source)) return Error{Code::kInvalid, "chat template: not UTF-8"};
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace tg::jinja
