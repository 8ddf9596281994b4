// What a template can call: its own macros, the global functions, and methods bound to a value.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace tg::jinja {

struct Statement;
class Interpreter;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  // The argument at `index` or called `name`, or nullptr.
  const Value* find(std::size_t index, std::string_view name) const;
  Value get(std::size_t index, std::string_view name, Value otherwise) const;
};

using Function = Result<Value> (*)(Interpreter&, const Value& self, const Arguments&);

struct Callable {
  const Statement* macro = nullptr;  // A macro or a call block's body; else `function`.
  Function function = nullptr;
  Value self;            // What a method is bound to.
  i64 scope_begin = -1;  // Call blocks see the scope they stand in; -1: only the global one.
  i64 scope_end = -1;
};

// The method `name` of values of this kind, or nullptr.
Function find_method(Kind kind, std::string_view name);
// The filter or test called `name`, or nullptr. `self` is what stands left of it.
Function find_filter(std::string_view name);
Function find_test(std::string_view name);
// The global function called `name`, or nullptr.
Function find_function(std::string_view name);

}  // namespace tg::jinja
