// Template tokens to syntax tree, by recursive descent in Jinja's precedence order. Filters, tests
// and tags outside the subset are refused here, by name, rather than when a request renders.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace tg::jinja {

// Deepest nesting of expressions, and of statements, in a template.
inline constexpr i32 kExprDepthMax = 200;
inline constexpr i32 kBlockDepthMax = 100;
// Deepest brackets inside one expression: each costs the parser a dozen calls of stack.
inline constexpr i32 kBracketDepthMax = 100;

Result<std::vector<Statement>> parse(std::string_view source);

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // parse_statement.cc
  Result<std::vector<Statement>> parse_template();

 private:
  // parse_statement.cc
  Result<std::vector<Statement>> parse_body(std::initializer_list<std::string_view> ends);
  Result<std::vector<Statement>> parse_inner_block(std::string_view end);
  Status parse_piece(std::vector<Statement>& body);
  Result<Statement> parse_tag();
  Result<Statement> parse_if();
  Result<Statement> parse_for();
  Result<Statement> parse_set();
  Result<Statement> parse_macro();
  Result<Statement> parse_call();
  Result<Statement> parse_filter_block();
  Result<Statement> parse_scope(std::string_view end);
  Status parse_targets(std::vector<Target>& targets);
  Status parse_parameters(std::vector<Parameter>& parameters);
  Status finish_tag();

  // parse_expression.cc
  Result<ExprPtr> parse_expression();
  Result<ExprPtr> parse_expression_or_tuple();
  Result<ExprPtr> parse_conditional();
  Result<ExprPtr> parse_or();
  Result<ExprPtr> parse_and();
  Result<ExprPtr> parse_not();
  Result<ExprPtr> parse_compare();
  Result<ExprPtr> parse_sum();
  Result<ExprPtr> parse_concat();
  Result<ExprPtr> parse_product();
  Result<ExprPtr> parse_power();
  Result<ExprPtr> parse_unary(bool with_filters);
  Result<ExprPtr> parse_primary();
  Result<ExprPtr> parse_name();
  Result<ExprPtr> parse_strings();
  Result<ExprPtr> parse_number();
  Result<ExprPtr> parse_parenthesis();
  Result<ExprPtr> parse_list();
  Result<ExprPtr> parse_dict();
  Result<ExprPtr> parse_postfix(ExprPtr expr, bool with_filters);
  Result<ExprPtr> parse_dot(ExprPtr expr);
  Result<ExprPtr> parse_bracket(ExprPtr expr);
  Result<ExprPtr> parse_filter(ExprPtr expr);
  Result<ExprPtr> parse_test(ExprPtr expr);
  Status parse_arguments(Expr& call);
  Result<ExprPtr> parse_binary(Result<ExprPtr> (Parser::*operand)(),
                               std::initializer_list<std::pair<std::string_view, Op>> operators);

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_.back(); }
  bool at_operator(std::string_view text) const {
    return peek().kind == TokenKind::kOperator && peek().text == text;
  }
  bool at_name(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::kName && peek(ahead).text == text;
  }
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  Status expect_operator(std::string_view text);
  Status expect_name(std::string_view text);
  Result<std::string> take_name();
  Error unexpected() const;
  ExprPtr make(ExprKind kind) const;
  // Completes a node whose children are set; kLimit past kExprDepthMax.
  Result<ExprPtr> finish(ExprPtr expr) const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  i32 block_depth_ = 0;
  i32 bracket_depth_ = 0;
  i32 loop_depth_ = 0;     // Of for loops around, within the same macro.
  i32 closure_depth_ = 0;  // Of loops, macros and scopes around.
};

}  // namespace tg::jinja
