// The syntax tree of a template. Expressions and statements are one struct each, told apart by
// kind: the tree is small and is walked, not compiled.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/callable.h"
#include "text/jinja/value.h"

namespace tg::jinja {

enum class ExprKind : u8 {
  kConstant,     // constant; strings point into `text`
  kName,         // text
  kList,         // items
  kTuple,        // items
  kDict,         // items: key, value, key, value, ...
  kAttribute,    // items[0] . text
  kSubscript,    // items[0] [ items[1] ]
  kSlice,        // items[0] [ items[1] : items[2] : items[3] ]; absent parts are null
  kCall,         // items[0] ( items[1..], named )
  kFilter,       // items[0] | text ( items[1..], named ), by `function`
  kTest,         // items[0] is text ( items[1..], named ), by `function`
  kNegate,       // - items[0]
  kPlus,         // + items[0]
  kNot,          // not items[0]
  kAnd,          // items[0] and items[1]
  kOr,           // items[0] or items[1]
  kConditional,  // items[0] if items[1] else items[2]; items[2] may be null
  kBinary,       // items[0] op items[1]
  kCompare,      // items[0] ops[0] items[1] ops[1] items[2] ...
  kConcat,       // items joined as text
};

enum class Op : u8 {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kEq,
  kNe,
  kLt,
  kGt,
  kLe,
  kGe,
  kIn,
  kNotIn,
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  i32 line = 0;
  i32 depth = 1;  // Of the tree below, for the nesting limit.
  std::string text;
  Value constant;
  Function function = nullptr;
  Op op = Op::kAdd;
  std::vector<Op> ops;
  std::vector<ExprPtr> items;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

enum class StatementKind : u8 {
  kText,      // text
  kPrint,     // value
  kIf,        // branches
  kFor,       // targets in value [if condition]: body, else orelse
  kSet,       // targets = value
  kSetBlock,  // targets = body through the filters of `value`, if any
  kMacro,     // text(parameters): body
  kCall,      // call(parameters) value: body
  kFilter,    // body through the filters of `value`
  kScope,     // body in its own scope
  kBreak,
  kContinue,
};

// The name under which the filters of a set or filter block find its text; no template can spell
// it.
inline constexpr const char* kBlockTextName = "(block text)";

// Where a value is stored: a name, or an attribute of a namespace.
struct Target {
  std::string name;
  std::string attribute;  // "" for a plain name.
};

struct Parameter {
  std::string name;
  ExprPtr otherwise;  // Null if there is no default.
};

struct Branch;

struct Statement {
  StatementKind kind = StatementKind::kText;
  i32 line = 0;
  std::string text;
  ExprPtr value;
  ExprPtr condition;
  std::vector<Target> targets;
  std::vector<Parameter> parameters;
  std::vector<Branch> branches;
  std::vector<Statement> body;
  std::vector<Statement> orelse;
};

struct Branch {
  ExprPtr condition;  // Null for else.
  std::vector<Statement> body;
};

}  // namespace tg::jinja
