// Runs a parsed template. It walks the tree, counts steps, bytes and depth against limits, and can
// reach nothing but the values it was given: no clock, no files, no host objects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/callable.h"
#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace tg::jinja {

inline constexpr i64 kStepsMax = 20'000'000;
inline constexpr i64 kOutputBytesMax = i64{64} << 20;
inline constexpr i64 kRunDepthMax = 600;
// Nesting of values that are printed, compared or read from JSON.
inline constexpr i64 kValueDepthMax = 64;

class Interpreter {
 public:
  // Borrows the program.
  Interpreter(const std::vector<Statement>& program, i64 unix_seconds);

  Heap& heap() { return heap_; }
  // `name` must outlive the interpreter.
  void set_global(std::string_view name, const Value& value);
  Result<std::string> run();

  // What filters, tests, methods and functions use.
  i64 unix_seconds() const { return unix_seconds_; }
  // Counts work; kLimit when the steps are used up or the heap is full.
  Status charge(i64 steps);
  // The same for work that is linear in `bytes`.
  Status charge_bytes(std::size_t bytes) { return charge(static_cast<i64>(bytes / 16) + 1); }
  // The same for looking for `needle` in `text`, which is quadratic at worst.
  Status charge_search(std::string_view text, std::string_view needle) {
    return charge(static_cast<i64>((text.size() / 16 + 1) * (needle.size() / 64 + 1)));
  }
  Error error(const std::string& what) const { return error(Code::kInvalid, what); }
  Error error(Code code, const std::string& what) const;

  Result<Value> call(const Value& callee, const Arguments& arguments);
  // value.name: methods first, then items, then undefined.
  Result<Value> attribute(const Value& value, std::string_view name);
  // value[key]: items first, then methods, then undefined.
  Result<Value> subscript(const Value& value, const Value& key);
  // str(value), repr(value) as Python prints them.
  Result<std::string> text_of(const Value& value);
  Result<Value> concatenate(std::string_view a, std::string_view b);
  Result<Value> make_string(std::string text);
  Value make_list(std::vector<Value> items);
  // What a loop over `value` sees; an error if it cannot be looped over.
  Result<std::vector<Value>> items_of(const Value& value);
  Result<bool> equals(const Value& a, const Value& b) { return equals(a, b, 0); }
  // -1, 0, 1; an error if Python would refuse to order them.
  Result<int> order(const Value& a, const Value& b) { return order(a, b, 0); }
  Result<bool> contains(const Value& container, const Value& item);
  Result<Value> binary(Op op, const Value& a, const Value& b);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  struct Binding {
    std::string_view name;
    Value value;
  };
  // Where names are looked up and set; saved and restored around macros, loops and blocks.
  struct Scope {
    std::size_t frame_begin = 0;  // Locals below belong to callers and are not seen.
    std::size_t begin = 0;        // Locals from here on are set in place.
    bool is_global = true;
  };

  // execute.cc
  Result<Flow> execute_body(const std::vector<Statement>& body);
  Result<Flow> execute(const Statement& statement);
  Result<Flow> execute_if(const Statement& statement);
  Result<Flow> execute_for(const Statement& statement);
  Result<List*> loop_items(const Statement& statement);
  Status execute_set(const Statement& statement);
  Result<std::string> capture(const std::vector<Statement>& body);
  Status execute_set_block(const Statement& statement);
  Status execute_call_block(const Statement& statement);
  Status execute_filter_block(const Statement& statement);
  Result<Value> filtered_block(const Statement& statement);
  Status bind_targets(const std::vector<Target>& targets, const Value& value);
  Status bind_target(const Target& target, const Value& value);
  Result<Value> call_macro(const Callable& callable, const Arguments& arguments);
  Status bind_parameters(const Statement& macro, const Arguments& arguments);
  Status print(const Value& value);
  Status check_output() const;
  void define_macro(const Statement& macro);

  // evaluate.cc
  Result<Value> evaluate(const Expr& expr);
  Result<Value> evaluate_kind(const Expr& expr);
  Result<Value> evaluate_list(const Expr& expr);
  Result<Value> evaluate_dict(const Expr& expr);
  Result<Value> evaluate_slice(const Expr& expr);
  Result<Value> evaluate_call(const Expr& expr);
  Result<Value> evaluate_filter_or_test(const Expr& expr);
  Result<Value> evaluate_logic(const Expr& expr);
  Result<Value> evaluate_conditional(const Expr& expr);
  Result<Value> evaluate_binary(const Expr& expr);
  Result<Value> evaluate_compare(const Expr& expr);
  Result<Value> evaluate_concat(const Expr& expr);
  Result<Value> evaluate_sign(const Expr& expr);
  Result<Arguments> evaluate_arguments(const Expr& expr);
  Value lookup(std::string_view name) const;
  void set_local(std::string_view name, const Value& value);

  // operators.cc
  Result<bool> equals(const Value& a, const Value& b, i64 depth);
  Result<int> order(const Value& a, const Value& b, i64 depth);
  Result<bool> compare(Op op, const Value& a, const Value& b);
  Result<Value> arithmetic_int(Op op, i64 a, i64 b);
  Result<Value> arithmetic_real(Op op, f64 a, f64 b);
  Result<Value> repeat(const Value& a, i64 count);

  const std::vector<Statement>* program_;
  i64 unix_seconds_;
  Heap heap_;
  std::vector<Binding> globals_;
  std::vector<Binding> locals_;
  Scope scope_;
  std::string out_;
  i64 steps_ = 0;
  i64 depth_ = 0;
  i32 line_ = 0;
};

}  // namespace tg::jinja
