#include "isa/assemble_function.h"

#include "isa/attribute_text.h"
#include "isa/limits.h"

namespace tg::isa {

static std::string quoted_value(std::string_view name) {
  return "%" + std::string(name);
}

Result<u32> FunctionAssembler::define(const TokenCursor& cursor, std::string_view name, Type type) {
  if (static_cast<i64>(function_.value_types.size()) >= kValuesMax)
    return cursor.error("more than " + std::to_string(kValuesMax) + " values");
  u32 id = static_cast<u32>(function_.value_types.size());
  if (!defined_.emplace(name, id).second)
    return cursor.error("V1: " + quoted_value(name) + " is assigned twice");
  scope_.emplace(name, id);
  function_.value_types.push_back(std::move(type));
  function_.value_names.emplace_back(name);
  return id;
}

Result<u32> FunctionAssembler::find_value(const TokenCursor& cursor, std::string_view name) const {
  std::map<std::string, u32, std::less<>>::const_iterator found = scope_.find(name);
  if (found == scope_.end()) {
    std::string why = defined_.contains(name) ? " is out of scope" : " is not defined";
    return cursor.error("V1: " + quoted_value(name) + why);
  }
  return found->second;
}

Status FunctionAssembler::header(TokenCursor& cursor) {
  TG_ASSIGN(std::string_view function, cursor.take(TokenKind::kWord, "a function name"));
  function_.name = function;
  TG_TRY(cursor.expect("("));
  if (!cursor.accept(")")) {
    do {
      TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kValue, "a parameter"));
      TG_ASSIGN(Type type, parse_type(cursor, config_));
      TG_ASSIGN(u32 id, define(cursor, name, std::move(type)));
      function_.parameters.push_back(id);
    } while (cursor.accept(","));
    TG_TRY(cursor.expect(")"));
  }
  TG_TRY(cursor.expect("->"));
  do {
    TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kValue, "a result"));
    Pending result{.name = std::string(name)};
    if (cursor.peek().kind == TokenKind::kWord && !cursor.is_word("when")) {
      TG_ASSIGN(result.type, parse_type(cursor, config_));
    }
    results_.push_back(std::move(result));
  } while (cursor.accept(","));
  if (cursor.at_end()) return {};
  TG_TRY(cursor.expect_word("when"));
  TG_TRY(cursor.expect_word("past"));
  TG_TRY(cursor.expect("="));
  TG_TRY(cursor.expect_word("0"));
  function_.when_fresh = true;
  return cursor.expect_end();
}

Result<Function> FunctionAssembler::finish(const TokenCursor& cursor) {
  if (loop_) return cursor.error("V14: repeat without yield");
  for (const Pending& result : results_) {
    TG_ASSIGN(u32 id, find_value(cursor, result.name));
    if (result.type && *result.type != function_.value_types[id])
      return cursor.error("V5: result %" + result.name + " is " +
                          to_text(function_.value_types[id]) + ", declared " +
                          to_text(*result.type));
    function_.results.push_back(id);
  }
  return std::move(function_);
}

Result<std::vector<std::string>> FunctionAssembler::result_names(TokenCursor& cursor) {
  std::vector<std::string> names;
  if (cursor.peek().kind != TokenKind::kValue) return names;
  do {
    TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kValue, "a result"));
    names.emplace_back(name);
  } while (cursor.accept(","));
  TG_TRY(cursor.expect("="));
  return names;
}

Status FunctionAssembler::statement(TokenCursor& cursor) {
  TG_ASSIGN(std::vector<std::string> names, result_names(cursor));
  TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "an instruction"));
  std::optional<Opcode> op = opcode_by_name(word);
  if (!op) return cursor.error("V2: unknown instruction '" + std::string(word) + "'");
  if (*op == Opcode::kRepeat) return repeat(cursor, std::move(names));
  if (*op != Opcode::kYield) return plain(cursor, info(*op), std::move(names));
  if (!names.empty()) return cursor.error("V14: yield's results are named at repeat");
  return yield(cursor);
}

Status FunctionAssembler::repeat(TokenCursor& cursor, std::vector<std::string> names) {
  if (loop_) return cursor.error("V14: repeat inside repeat");
  TG_ASSIGN(std::string_view index_name, cursor.take(TokenKind::kWord, "the loop's index name"));
  TG_ASSIGN(i64 count, parse_integer(cursor, config_, kLayersMax));
  Loop loop{.index_name = std::string(index_name), .final_names = std::move(names)};
  loop.values_before = function_.value_types.size();
  Instruction instruction{.op = Opcode::kRepeat};
  instruction.attributes = {{AttributeKey::kCount, {static_cast<u32>(count)}}};
  TG_TRY(cursor.expect_word("carry"));
  do {
    TG_ASSIGN(std::string_view start, cursor.take(TokenKind::kValue, "a carried value"));
    TG_ASSIGN(u32 id, find_value(cursor, start));
    instruction.in.push_back({.kind = OperandKind::kValue, .index = id});
    TG_TRY(cursor.expect_word("as"));
    TG_ASSIGN(std::string_view inside, cursor.take(TokenKind::kValue, "its name inside"));
    TG_ASSIGN(u32 inner, define(cursor, inside, function_.value_types[id]));
    instruction.out.push_back(inner);
  } while (cursor.accept(","));
  if (loop.final_names.size() != instruction.out.size())
    return cursor.error("V14: repeat names " + std::to_string(loop.final_names.size()) +
                        " results and carries " + std::to_string(instruction.out.size()));
  loop.carried = instruction.out;
  function_.body.push_back(std::move(instruction));
  loop_ = std::move(loop);
  return cursor.expect_end();
}

void FunctionAssembler::close_scope(std::size_t values_before) {
  std::erase_if(scope_, [&](const auto& entry) { return entry.second >= values_before; });
}

Status FunctionAssembler::yield(TokenCursor& cursor) {
  if (!loop_) return cursor.error("V14: yield outside repeat");
  TG_ASSIGN(std::vector<Operand> next, operands(cursor));
  TG_TRY(cursor.expect_end());
  if (next.size() != loop_->carried.size())
    return cursor.error("V14: yield gives " + std::to_string(next.size()) +
                        " values, repeat carries " + std::to_string(loop_->carried.size()));
  Instruction instruction{.op = Opcode::kYield};
  instruction.in = std::move(next);
  close_scope(loop_->values_before);
  for (std::size_t i = 0; i < loop_->carried.size(); ++i) {
    Type type = function_.value_types[loop_->carried[i]];
    TG_ASSIGN(u32 id, define(cursor, loop_->final_names[i], std::move(type)));
    instruction.out.push_back(id);
  }
  function_.body.push_back(std::move(instruction));
  loop_.reset();
  return {};
}

Status FunctionAssembler::plain(TokenCursor& cursor, const OpInfo& op,
                                std::vector<std::string> names) {
  if (static_cast<i64>(function_.body.size()) >= kInstructionsMax)
    return cursor.error("M6: more than " + std::to_string(kInstructionsMax) + " instructions");
  Instruction instruction{.op = op.op, .version = op.version};
  TG_ASSIGN(instruction.in, operands(cursor));
  if (cursor.is("{")) {
    TG_ASSIGN(instruction.attributes, parse_attributes(cursor, config_, op));
  }
  std::vector<Type> types;
  if (cursor.accept("->")) {
    do {
      TG_ASSIGN(Type type, parse_type(cursor, config_));
      types.push_back(std::move(type));
    } while (cursor.accept(","));
  }
  TG_TRY(cursor.expect_end());
  if (types.size() != names.size())
    return cursor.error(std::string(op.name) + " names " + std::to_string(names.size()) +
                        " results and gives " + std::to_string(types.size()) + " types");
  for (std::size_t i = 0; i < names.size(); ++i) {
    TG_ASSIGN(u32 id, define(cursor, names[i], std::move(types[i])));
    instruction.out.push_back(id);
  }
  function_.body.push_back(std::move(instruction));
  return {};
}

Result<std::vector<Operand>> FunctionAssembler::operands(TokenCursor& cursor) {
  std::vector<Operand> list;
  do {
    TG_ASSIGN(Operand one, operand(cursor));
    list.push_back(one);
    if (static_cast<i64>(list.size()) > kOperandsMax)
      return cursor.error("more than " + std::to_string(kOperandsMax) + " operands");
  } while (cursor.accept(","));
  return list;
}

Result<Operand> FunctionAssembler::operand(TokenCursor& cursor) {
  if (cursor.peek().kind == TokenKind::kSymbol) return symbol(cursor);
  TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kValue, "an operand"));
  TG_ASSIGN(u32 id, find_value(cursor, name));
  return Operand{.kind = OperandKind::kValue, .index = id};
}

Result<Operand> FunctionAssembler::symbol(TokenCursor& cursor) {
  std::string_view name = cursor.next().text;
  SymbolTable::const_iterator found = symbols_.find(name);
  if (found == symbols_.end())
    return cursor.error("V6: $" + std::string(name) + " is not declared");
  Operand operand{.kind = found->second.kind, .index = found->second.index};
  if (cursor.is("[")) TG_TRY(layer_index(cursor, operand));
  return operand;
}

Status FunctionAssembler::layer_index(TokenCursor& cursor, Operand& operand) {
  TG_TRY(cursor.expect("["));
  operand.mode = LayerMode::kFixed;
  if (loop_ && cursor.is_word(loop_->index_name)) {
    cursor.next();
    operand.mode = LayerMode::kLoop;
    if (!cursor.accept("+")) return cursor.expect("]");
  }
  TG_ASSIGN(i64 layer, parse_integer(cursor, config_, kLayersMax));
  operand.layer = static_cast<u16>(layer);
  return cursor.expect("]");
}

}  // namespace tg::isa
