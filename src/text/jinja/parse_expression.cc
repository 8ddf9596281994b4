// Expressions. One function per precedence level, in the order Jinja binds: conditional, or, and,
// not, comparison, sum, concatenation, product, power, unary, postfix and filters.
#include <algorithm>
#include <charconv>

#include "text/jinja/parser.h"

namespace tg::jinja {

bool Parser::skip_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  next();
  return true;
}

bool Parser::skip_name(std::string_view text) {
  if (!at_name(text)) return false;
  next();
  return true;
}

Status Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) return unexpected();
  return {};
}

Status Parser::expect_name(std::string_view text) {
  if (!skip_name(text)) return unexpected();
  return {};
}

Result<std::string> Parser::take_name() {
  if (peek().kind != TokenKind::kName) return unexpected();
  return next().text;
}

Error Parser::unexpected() const {
  switch (peek().kind) {
    case TokenKind::kEnd: return error_at(Code::kInvalid, peek().line, "unexpected end");
    case TokenKind::kBlockEnd: return error_at(Code::kInvalid, peek().line, "unexpected '%}'");
    case TokenKind::kPrintEnd: return error_at(Code::kInvalid, peek().line, "unexpected '}}'");
    default: break;
  }
  return error_at(Code::kInvalid, peek().line, "unexpected '" + peek().text.substr(0, 40) + "'");
}

ExprPtr Parser::make(ExprKind kind) const {
  ExprPtr expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = peek().line;
  return expr;
}

Result<ExprPtr> Parser::finish(ExprPtr expr) const {
  i32 below = 0;
  for (const ExprPtr& item : expr->items) below = std::max(below, item ? item->depth : 0);
  for (const std::pair<std::string, ExprPtr>& item : expr->named)
    below = std::max(below, item.second->depth);
  expr->depth = below + 1;
  if (expr->depth > kExprDepthMax) {
    return error_at(Code::kLimit, expr->line,
                    "expression nests deeper than " + std::to_string(kExprDepthMax));
  }
  return expr;
}

Result<ExprPtr> Parser::parse_expression() {
  if (++bracket_depth_ > kBracketDepthMax) {
    return error_at(Code::kLimit, peek().line,
                    "brackets nest deeper than " + std::to_string(kBracketDepthMax));
  }
  TG_ASSIGN(ExprPtr expr, parse_conditional());
  --bracket_depth_;
  return expr;
}

// a, b, c  is a tuple without parentheses.
Result<ExprPtr> Parser::parse_expression_or_tuple() {
  TG_ASSIGN(ExprPtr first, parse_expression());
  if (!at_operator(",")) return first;
  ExprPtr tuple = make(ExprKind::kTuple);
  tuple->items.push_back(std::move(first));
  while (skip_operator(",")) {
    if (peek().kind == TokenKind::kBlockEnd || peek().kind == TokenKind::kPrintEnd ||
        at_operator(")"))
      break;
    TG_ASSIGN(ExprPtr item, parse_expression());
    tuple->items.push_back(std::move(item));
  }
  return finish(std::move(tuple));
}

Result<ExprPtr> Parser::parse_conditional() {
  TG_ASSIGN(ExprPtr expr, parse_or());
  while (at_name("if")) {
    ExprPtr conditional = make(ExprKind::kConditional);
    next();
    TG_ASSIGN(ExprPtr condition, parse_or());
    ExprPtr otherwise;
    if (skip_name("else")) {
      TG_ASSIGN(otherwise, parse_expression());
    }
    conditional->items.push_back(std::move(expr));
    conditional->items.push_back(std::move(condition));
    conditional->items.push_back(std::move(otherwise));
    TG_ASSIGN(expr, finish(std::move(conditional)));
  }
  return expr;
}

Result<ExprPtr> Parser::parse_or() {
  TG_ASSIGN(ExprPtr left, parse_and());
  while (at_name("or")) {
    ExprPtr node = make(ExprKind::kOr);
    next();
    TG_ASSIGN(ExprPtr right, parse_and());
    node->items.push_back(std::move(left));
    node->items.push_back(std::move(right));
    TG_ASSIGN(left, finish(std::move(node)));
  }
  return left;
}

Result<ExprPtr> Parser::parse_and() {
  TG_ASSIGN(ExprPtr left, parse_not());
  while (at_name("and")) {
    ExprPtr node = make(ExprKind::kAnd);
    next();
    TG_ASSIGN(ExprPtr right, parse_not());
    node->items.push_back(std::move(left));
    node->items.push_back(std::move(right));
    TG_ASSIGN(left, finish(std::move(node)));
  }
  return left;
}

Result<ExprPtr> Parser::parse_not() {
  i32 line = peek().line;
  bool negates = false;
  bool is_not = false;
  for (; skip_name("not"); negates = true) is_not = !is_not;
  TG_ASSIGN(ExprPtr expr, parse_compare());
  // Two nots are not nothing: they make a boolean.
  for (int i = 0; i < (is_not ? 1 : negates ? 2 : 0); ++i) {
    ExprPtr node = make(ExprKind::kNot);
    node->line = line;
    node->items.push_back(std::move(expr));
    TG_ASSIGN(expr, finish(std::move(node)));
  }
  return expr;
}

Result<ExprPtr> Parser::parse_compare() {
  static constexpr std::pair<std::string_view, Op> kComparisons[] = {
      {"==", Op::kEq}, {"!=", Op::kNe}, {"<", Op::kLt},
      {">", Op::kGt},  {"<=", Op::kLe}, {">=", Op::kGe}};
  ExprPtr compare = make(ExprKind::kCompare);
  TG_ASSIGN(ExprPtr first, parse_sum());
  compare->items.push_back(std::move(first));
  for (;;) {
    const std::pair<std::string_view, Op>* found =
        std::find_if(std::begin(kComparisons), std::end(kComparisons),
                     [&](const auto& c) { return at_operator(c.first); });
    if (found != std::end(kComparisons)) {
      next();
      compare->ops.push_back(found->second);
    } else if (skip_name("in")) {
      compare->ops.push_back(Op::kIn);
    } else if (at_name("not") && at_name("in", 1)) {
      next();
      next();
      compare->ops.push_back(Op::kNotIn);
    } else {
      break;
    }
    TG_ASSIGN(ExprPtr operand, parse_sum());
    compare->items.push_back(std::move(operand));
  }
  if (compare->ops.empty()) return std::move(compare->items[0]);
  return finish(std::move(compare));
}

Result<ExprPtr> Parser::parse_binary(
    Result<ExprPtr> (Parser::*operand)(),
    std::initializer_list<std::pair<std::string_view, Op>> operators) {
  TG_ASSIGN(ExprPtr left, (this->*operand)());
  for (;;) {
    const std::pair<std::string_view, Op>* found = std::find_if(
        operators.begin(), operators.end(), [&](const auto& op) { return at_operator(op.first); });
    if (found == operators.end()) return left;
    ExprPtr node = make(ExprKind::kBinary);
    node->op = found->second;
    next();
    TG_ASSIGN(ExprPtr right, (this->*operand)());
    node->items.push_back(std::move(left));
    node->items.push_back(std::move(right));
    TG_ASSIGN(left, finish(std::move(node)));
  }
}

Result<ExprPtr> Parser::parse_sum() {
  return parse_binary(&Parser::parse_concat, {{"+", Op::kAdd}, {"-", Op::kSub}});
}

Result<ExprPtr> Parser::parse_concat() {
  ExprPtr concat = make(ExprKind::kConcat);
  TG_ASSIGN(ExprPtr first, parse_product());
  if (!at_operator("~")) return first;
  concat->items.push_back(std::move(first));
  while (skip_operator("~")) {
    TG_ASSIGN(ExprPtr item, parse_product());
    concat->items.push_back(std::move(item));
  }
  return finish(std::move(concat));
}

Result<ExprPtr> Parser::parse_product() {
  return parse_binary(&Parser::parse_power,
                      {{"*", Op::kMul}, {"/", Op::kDiv}, {"//", Op::kFloorDiv}, {"%", Op::kMod}});
}

Result<ExprPtr> Parser::parse_power() {
  TG_ASSIGN(ExprPtr left, parse_unary(true));
  while (at_operator("**")) {
    ExprPtr node = make(ExprKind::kBinary);
    node->op = Op::kPow;
    next();
    TG_ASSIGN(ExprPtr right, parse_unary(true));
    node->items.push_back(std::move(left));
    node->items.push_back(std::move(right));
    TG_ASSIGN(left, finish(std::move(node)));
  }
  return left;
}

Result<ExprPtr> Parser::parse_unary(bool with_filters) {
  ExprPtr expr;
  if (at_operator("-") || at_operator("+")) {
    expr = make(at_operator("-") ? ExprKind::kNegate : ExprKind::kPlus);
    next();
    if (++bracket_depth_ > kBracketDepthMax)
      return error_at(Code::kLimit, peek().line, "signs nest too deeply");
    TG_ASSIGN(ExprPtr operand, parse_unary(false));
    --bracket_depth_;
    expr->items.push_back(std::move(operand));
    TG_ASSIGN(expr, finish(std::move(expr)));
  } else {
    TG_ASSIGN(expr, parse_primary());
  }
  return parse_postfix(std::move(expr), with_filters);
}

Result<ExprPtr> Parser::parse_primary() {
  switch (peek().kind) {
    case TokenKind::kName: return parse_name();
    case TokenKind::kString: return parse_strings();
    case TokenKind::kInt:
    case TokenKind::kFloat: return parse_number();
    case TokenKind::kOperator:
      if (at_operator("(")) return parse_parenthesis();
      if (at_operator("[")) return parse_list();
      if (at_operator("{")) return parse_dict();
      return unexpected();
    default: return unexpected();
  }
}

Result<ExprPtr> Parser::parse_name() {
  ExprPtr expr = make(ExprKind::kConstant);
  std::string name = next().text;
  if (name == "true" || name == "True") {
    expr->constant = Value::boolean(true);
  } else if (name == "false" || name == "False") {
    expr->constant = Value::boolean(false);
  } else if (name == "none" || name == "None") {
    expr->constant = Value::none();
  } else {
    expr->kind = ExprKind::kName;
    expr->text = std::move(name);
  }
  return expr;
}

// Neighbouring strings are one string.
Result<ExprPtr> Parser::parse_strings() {
  ExprPtr expr = make(ExprKind::kConstant);
  while (peek().kind == TokenKind::kString) expr->text += next().text;
  expr->constant = Value::string(expr->text);
  return expr;
}

Result<ExprPtr> Parser::parse_number() {
  ExprPtr expr = make(ExprKind::kConstant);
  const Token& token = next();
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  i64 integer = 0;
  f64 real = 0;
  std::from_chars_result result = token.kind == TokenKind::kInt
                                      ? std::from_chars(begin, end, integer)
                                      : std::from_chars(begin, end, real);
  if (result.ec != std::errc() || result.ptr != end)
    return error_at(Code::kInvalid, token.line, "number " + token.text);
  expr->constant = token.kind == TokenKind::kInt ? Value::integer(integer) : Value::real(real);
  return expr;
}

Result<ExprPtr> Parser::parse_parenthesis() {
  next();
  if (skip_operator(")")) return make(ExprKind::kTuple);
  TG_ASSIGN(ExprPtr expr, parse_expression_or_tuple());
  TG_TRY(expect_operator(")"));
  return expr;
}

Result<ExprPtr> Parser::parse_list() {
  ExprPtr list = make(ExprKind::kList);
  next();
  while (!at_operator("]")) {
    TG_ASSIGN(ExprPtr item, parse_expression());
    list->items.push_back(std::move(item));
    if (!skip_operator(",")) break;
  }
  TG_TRY(expect_operator("]"));
  return finish(std::move(list));
}

Result<ExprPtr> Parser::parse_dict() {
  ExprPtr dict = make(ExprKind::kDict);
  next();
  while (!at_operator("}")) {
    TG_ASSIGN(ExprPtr key, parse_expression());
    TG_TRY(expect_operator(":"));
    TG_ASSIGN(ExprPtr value, parse_expression());
    dict->items.push_back(std::move(key));
    dict->items.push_back(std::move(value));
    if (!skip_operator(",")) break;
  }
  TG_TRY(expect_operator("}"));
  return finish(std::move(dict));
}

Result<ExprPtr> Parser::parse_postfix(ExprPtr expr, bool with_filters) {
  for (;;) {
    if (at_operator(".")) {
      TG_ASSIGN(expr, parse_dot(std::move(expr)));
    } else if (at_operator("[")) {
      TG_ASSIGN(expr, parse_bracket(std::move(expr)));
    } else if (at_operator("(")) {
      ExprPtr call = make(ExprKind::kCall);
      call->items.push_back(std::move(expr));
      TG_TRY(parse_arguments(*call));
      TG_ASSIGN(expr, finish(std::move(call)));
    } else if (with_filters && skip_operator("|")) {
      TG_ASSIGN(expr, parse_filter(std::move(expr)));
    } else if (with_filters && at_name("is")) {
      TG_ASSIGN(expr, parse_test(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Result<ExprPtr> Parser::parse_dot(ExprPtr expr) {
  ExprPtr node = make(ExprKind::kAttribute);
  next();
  if (peek().kind == TokenKind::kInt) {
    node->kind = ExprKind::kSubscript;
    TG_ASSIGN(ExprPtr index, parse_number());
    node->items.push_back(std::move(expr));
    node->items.push_back(std::move(index));
    return finish(std::move(node));
  }
  TG_ASSIGN(node->text, take_name());
  node->items.push_back(std::move(expr));
  return finish(std::move(node));
}

// x[i], x[a:b], x[a:b:c]
Result<ExprPtr> Parser::parse_bracket(ExprPtr expr) {
  ExprPtr node = make(ExprKind::kSubscript);
  next();
  node->items.push_back(std::move(expr));
  while (!at_operator("]")) {
    ExprPtr part;
    if (!at_operator(":")) {
      TG_ASSIGN(part, parse_expression());
    }
    node->items.push_back(std::move(part));
    if (!at_operator(":")) break;
    node->kind = ExprKind::kSlice;
    next();
    if (at_operator("]")) node->items.emplace_back();
  }
  TG_TRY(expect_operator("]"));
  std::size_t parts = node->items.size() - 1;
  if (parts == 0 || parts > 3) return error_at(Code::kInvalid, node->line, "bad subscript");
  if (node->kind == ExprKind::kSlice) node->items.resize(4);
  return finish(std::move(node));
}

// at_ stands behind the bar.
Result<ExprPtr> Parser::parse_filter(ExprPtr expr) {
  ExprPtr filter = make(ExprKind::kFilter);
  TG_ASSIGN(filter->text, take_name());
  filter->function = find_filter(filter->text);
  if (filter->function == nullptr)
    return error_at(Code::kUnsupported, filter->line, "filter '" + filter->text + "'");
  filter->items.push_back(std::move(expr));
  if (at_operator("(")) TG_TRY(parse_arguments(*filter));
  return finish(std::move(filter));
}

// x is defined, x is not none, x is equalto(3), x is divisibleby 3
Result<ExprPtr> Parser::parse_test(ExprPtr expr) {
  next();
  bool negates = skip_name("not");
  ExprPtr test = make(ExprKind::kTest);
  TG_ASSIGN(test->text, take_name());
  test->function = find_test(test->text);
  if (test->function == nullptr)
    return error_at(Code::kUnsupported, test->line, "test '" + test->text + "'");
  test->items.push_back(std::move(expr));
  bool is_word = peek().kind == TokenKind::kName;
  bool ends_test = is_word && (at_name("else") || at_name("or") || at_name("and") ||
                               at_name("if") || at_name("is") || at_name("in") || at_name("not"));
  bool is_literal = peek().kind == TokenKind::kString || peek().kind == TokenKind::kInt ||
                    peek().kind == TokenKind::kFloat || at_operator("[") || at_operator("{");
  if (at_operator("(")) {
    TG_TRY(parse_arguments(*test));
  } else if ((is_word && !ends_test) || is_literal) {
    TG_ASSIGN(ExprPtr argument, parse_primary());
    TG_ASSIGN(argument, parse_postfix(std::move(argument), false));
    test->items.push_back(std::move(argument));
  }
  TG_ASSIGN(ExprPtr result, finish(std::move(test)));
  if (!negates) return result;
  ExprPtr inverse = make(ExprKind::kNot);
  inverse->items.push_back(std::move(result));
  return finish(std::move(inverse));
}

Status Parser::parse_arguments(Expr& call) {
  TG_TRY(expect_operator("("));
  while (!at_operator(")")) {
    if (at_operator("*") || at_operator("**"))
      return error_at(Code::kUnsupported, peek().line, "argument unpacking with '*'");
    bool is_named = peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator &&
                    peek(1).text == "=";
    std::string name;
    if (is_named) {
      name = next().text;
      next();
    }
    TG_ASSIGN(ExprPtr value, parse_expression());
    if (is_named) {
      call.named.emplace_back(std::move(name), std::move(value));
    } else if (!call.named.empty()) {
      return error_at(Code::kInvalid, call.line, "positional argument after a named one");
    } else {
      call.items.push_back(std::move(value));
    }
    if (!skip_operator(",")) break;
  }
  return expect_operator(")");
}

}  // namespace tg::jinja
