// The body of one function of the text assembly; assemble.cc feeds it lines.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "isa/expression.h"
#include "isa/lexer.h"
#include "isa/program.h"

namespace tg::isa {

// A declared $name.
struct SymbolRef {
  OperandKind kind{};
  u32 index = 0;
  u32 layers = 0;
};
using SymbolTable = std::map<std::string, SymbolRef, std::less<>>;

class FunctionAssembler {
 public:
  // `config` and `symbols` must outlive the assembler.
  FunctionAssembler(const Config& config, const SymbolTable& symbols)
      : config_(config), symbols_(symbols) {}

  // "main (%x f32[T,8], %bt batch) -> %y f32[T,8]", after ".func".
  Status header(TokenCursor& cursor);
  // One statement.
  Status statement(TokenCursor& cursor);
  // After ".end": resolves the results.
  Result<Function> finish(const TokenCursor& cursor);

 private:
  // A named value to come, with its type if the text gave one.
  struct Pending {
    std::string name;
    std::optional<Type> type;
  };
  struct Loop {
    std::string index_name;
    std::vector<std::string> final_names;
    std::vector<u32> carried;
    std::size_t values_before = 0;
  };

  Result<u32> define(const TokenCursor& cursor, std::string_view name, Type type);
  Result<u32> find_value(const TokenCursor& cursor, std::string_view name) const;
  Result<std::vector<std::string>> result_names(TokenCursor& cursor);
  Status repeat(TokenCursor& cursor, std::vector<std::string> names);
  Status yield(TokenCursor& cursor);
  Status plain(TokenCursor& cursor, const OpInfo& op, std::vector<std::string> names);
  Result<std::vector<Operand>> operands(TokenCursor& cursor);
  Result<Operand> operand(TokenCursor& cursor);
  Result<Operand> symbol(TokenCursor& cursor);
  Status layer_index(TokenCursor& cursor, Operand& operand);
  void close_scope(std::size_t values_before);

  const Config& config_;
  const SymbolTable& symbols_;
  Function function_;
  std::vector<Pending> results_;
  std::map<std::string, u32, std::less<>> scope_;
  std::map<std::string, u32, std::less<>> defined_;  // every name of the function
  std::optional<Loop> loop_;
};

}  // namespace tg::isa
