// Tags and text.
#include <algorithm>
#include <utility>

#include "text/jinja/parser.h"

namespace tg::jinja {

Result<std::vector<Statement>> parse(std::string_view source) {
  TG_ASSIGN(std::vector<Token> tokens, lex(source));
  return Parser(std::move(tokens)).parse_template();
}

Result<std::vector<Statement>> Parser::parse_template() {
  TG_ASSIGN(std::vector<Statement> body, parse_body({}));
  if (peek().kind != TokenKind::kEnd)
    return error_at(Code::kInvalid, peek().line, "unexpected tag '" + peek(1).text + "'");
  return body;
}

// Statements up to a tag named in `ends` (left standing at its "{%"), or to the end if none is.
Result<std::vector<Statement>> Parser::parse_body(std::initializer_list<std::string_view> ends) {
  i32 line = peek().line;
  if (++block_depth_ > kBlockDepthMax) {
    return error_at(Code::kLimit, line,
                    "blocks nest deeper than " + std::to_string(kBlockDepthMax));
  }
  std::vector<Statement> body;
  for (;;) {
    if (peek().kind == TokenKind::kEnd) {
      if (ends.size() == 0) break;
      return error_at(Code::kInvalid, line,
                      "block is not closed, no '" + std::string(*(ends.end() - 1)) + "' follows");
    }
    bool is_end = peek().kind == TokenKind::kBlockBegin && peek(1).kind == TokenKind::kName &&
                  std::find(ends.begin(), ends.end(), peek(1).text) != ends.end();
    if (is_end) break;
    TG_TRY(parse_piece(body));
  }
  --block_depth_;
  return body;
}

// A body with its own scope, and its end tag. A jump out of it would lose its text, so that loops
// around it do not count.
Result<std::vector<Statement>> Parser::parse_inner_block(std::string_view end) {
  i32 loop_depth = std::exchange(loop_depth_, 0);
  ++closure_depth_;
  TG_ASSIGN(std::vector<Statement> body, parse_body({end}));
  --closure_depth_;
  loop_depth_ = loop_depth;
  next();
  next();
  TG_TRY(finish_tag());
  return body;
}

Status Parser::parse_piece(std::vector<Statement>& body) {
  Statement piece;
  piece.line = peek().line;
  if (peek().kind == TokenKind::kText) {
    piece.text = next().text;
  } else if (peek().kind == TokenKind::kPrintBegin) {
    next();
    piece.kind = StatementKind::kPrint;
    TG_ASSIGN(piece.value, parse_expression_or_tuple());
    if (peek().kind != TokenKind::kPrintEnd) return unexpected();
    next();
  } else {
    if (peek().kind != TokenKind::kBlockBegin) return unexpected();
    next();
    TG_ASSIGN(piece, parse_tag());
    piece.line = piece.line == 0 ? peek().line : piece.line;
  }
  body.push_back(std::move(piece));
  return {};
}

Status Parser::finish_tag() {
  if (peek().kind != TokenKind::kBlockEnd) return unexpected();
  next();
  return {};
}

Result<Statement> Parser::parse_tag() {
  i32 line = peek().line;
  TG_ASSIGN(std::string tag, take_name());
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call();
  if (tag == "filter") return parse_filter_block();
  // Training marks these spans; a prompt has no use for them.
  if (tag == "generation") return parse_scope("endgeneration");
  if (tag == "break" || tag == "continue") {
    if (loop_depth_ == 0) return error_at(Code::kInvalid, line, "'" + tag + "' outside a loop");
    TG_TRY(finish_tag());
    Statement jump;
    jump.kind = tag == "break" ? StatementKind::kBreak : StatementKind::kContinue;
    jump.line = line;
    return jump;
  }
  bool is_misplaced = tag == "else" || tag == "elif" || tag.substr(0, 3) == "end";
  return error_at(is_misplaced ? Code::kInvalid : Code::kUnsupported, line, "tag '" + tag + "'");
}

Result<Statement> Parser::parse_if() {
  Statement statement;
  statement.kind = StatementKind::kIf;
  statement.line = peek().line;
  bool has_condition = true;
  for (;;) {
    Branch branch;
    if (has_condition) {
      TG_ASSIGN(branch.condition, parse_expression_or_tuple());
    }
    TG_TRY(finish_tag());
    bool is_last = !has_condition;
    Result<std::vector<Statement>> body =
        is_last ? parse_body({"endif"}) : parse_body({"elif", "else", "endif"});
    TG_ASSIGN(branch.body, std::move(body));
    statement.branches.push_back(std::move(branch));
    next();
    std::string end = next().text;
    if (end == "endif") break;
    has_condition = end == "elif";
  }
  TG_TRY(finish_tag());
  return statement;
}

Result<Statement> Parser::parse_for() {
  Statement statement;
  statement.kind = StatementKind::kFor;
  statement.line = peek().line;
  TG_TRY(parse_targets(statement.targets));
  TG_TRY(expect_name("in"));
  // Not a conditional: an "if" here filters the items.
  TG_ASSIGN(statement.value, parse_or());
  if (skip_name("if")) {
    TG_ASSIGN(statement.condition, parse_expression());
  }
  if (at_name("recursive")) return error_at(Code::kUnsupported, statement.line, "recursive loop");
  TG_TRY(finish_tag());
  ++loop_depth_;
  ++closure_depth_;
  TG_ASSIGN(statement.body, parse_body({"else", "endfor"}));
  --loop_depth_;
  next();
  if (next().text == "else") {
    TG_TRY(finish_tag());
    TG_ASSIGN(statement.orelse, parse_body({"endfor"}));
    next();
    next();
  }
  --closure_depth_;
  TG_TRY(finish_tag());
  return statement;
}

// Names, in parentheses or not: a  a.b  a, b  (a, b)
Status Parser::parse_targets(std::vector<Target>& targets) {
  bool has_parenthesis = skip_operator("(");
  do {
    Target target;
    TG_ASSIGN(target.name, take_name());
    if (skip_operator(".")) {
      TG_ASSIGN(target.attribute, take_name());
    }
    targets.push_back(std::move(target));
  } while (skip_operator(",") && peek().kind == TokenKind::kName);
  if (has_parenthesis) TG_TRY(expect_operator(")"));
  return {};
}

// Stands in for the text of a set or filter block at the head of its filters.
static ExprPtr block_text(i32 line) {
  ExprPtr text = std::make_unique<Expr>();
  text->kind = ExprKind::kName;
  text->line = line;
  text->text = kBlockTextName;
  return text;
}

Result<Statement> Parser::parse_set() {
  Statement statement;
  statement.kind = StatementKind::kSet;
  statement.line = peek().line;
  TG_TRY(parse_targets(statement.targets));
  if (skip_operator("=")) {
    TG_ASSIGN(statement.value, parse_expression_or_tuple());
    TG_TRY(finish_tag());
    return statement;
  }
  statement.kind = StatementKind::kSetBlock;
  if (at_operator("|")) {
    TG_ASSIGN(statement.value, parse_postfix(block_text(statement.line), true));
  }
  TG_TRY(finish_tag());
  TG_ASSIGN(statement.body, parse_inner_block("endset"));
  return statement;
}

Result<Statement> Parser::parse_macro() {
  Statement statement;
  statement.kind = StatementKind::kMacro;
  statement.line = peek().line;
  if (closure_depth_ > 0)
    return error_at(Code::kUnsupported, statement.line, "macro inside a loop or block");
  TG_ASSIGN(statement.text, take_name());
  TG_TRY(parse_parameters(statement.parameters));
  TG_TRY(finish_tag());
  TG_ASSIGN(statement.body, parse_inner_block("endmacro"));
  return statement;
}

Status Parser::parse_parameters(std::vector<Parameter>& parameters) {
  TG_TRY(expect_operator("("));
  while (!at_operator(")")) {
    Parameter parameter;
    TG_ASSIGN(parameter.name, take_name());
    if (skip_operator("=")) {
      TG_ASSIGN(parameter.otherwise, parse_expression());
    }
    parameters.push_back(std::move(parameter));
    if (!skip_operator(",")) break;
  }
  return expect_operator(")");
}

Result<Statement> Parser::parse_call() {
  Statement statement;
  statement.kind = StatementKind::kCall;
  statement.line = peek().line;
  if (at_operator("(")) TG_TRY(parse_parameters(statement.parameters));
  TG_ASSIGN(statement.value, parse_expression());
  if (statement.value->kind != ExprKind::kCall)
    return error_at(Code::kInvalid, statement.line, "call block without a call");
  TG_TRY(finish_tag());
  TG_ASSIGN(statement.body, parse_inner_block("endcall"));
  return statement;
}

Result<Statement> Parser::parse_filter_block() {
  Statement statement;
  statement.kind = StatementKind::kFilter;
  statement.line = peek().line;
  TG_ASSIGN(ExprPtr first, parse_filter(block_text(statement.line)));
  TG_ASSIGN(statement.value, parse_postfix(std::move(first), true));
  TG_TRY(finish_tag());
  TG_ASSIGN(statement.body, parse_inner_block("endfilter"));
  return statement;
}

Result<Statement> Parser::parse_scope(std::string_view end) {
  Statement statement;
  statement.kind = StatementKind::kScope;
  statement.line = peek().line;
  TG_TRY(finish_tag());
  TG_ASSIGN(statement.body, parse_inner_block(end));
  return statement;
}

}  // namespace tg::jinja
