// Statements: scopes, loops, macros and output.
#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"

namespace tg::jinja {

Interpreter::Interpreter(const std::vector<Statement>& program, i64 unix_seconds)
    : program_(&program), unix_seconds_(unix_seconds) {
  for (std::string_view name : {"range", "namespace", "dict", "raise_exception", "strftime_now"}) {
    Callable* callable = heap_.callable();
    callable->function = find_function(name);
    set_global(name, Value::callable(callable));
  }
}

void Interpreter::set_global(std::string_view name, const Value& value) {
  for (Binding& binding : globals_) {
    if (binding.name != name) continue;
    binding.value = value;
    return;
  }
  globals_.push_back({name, value});
}

Result<std::string> Interpreter::run() {
  TG_TRY(execute_body(*program_));
  return std::move(out_);
}

Status Interpreter::charge(i64 steps) {
  steps_ += steps;
  if (steps_ > kStepsMax)
    return error(Code::kLimit, "more than " + std::to_string(kStepsMax) + " steps");
  if (heap_.is_full())
    return error(Code::kLimit, "more than " + std::to_string(Heap::kBytesMax) + " bytes of values");
  return {};
}

Error Interpreter::error(Code code, const std::string& what) const {
  return error_at(code, line_, what);
}

Result<Interpreter::Flow> Interpreter::execute_body(const std::vector<Statement>& body) {
  if (++depth_ > kRunDepthMax)
    return error(Code::kLimit, "runs deeper than " + std::to_string(kRunDepthMax));
  Flow flow = Flow::kNext;
  for (const Statement& statement : body) {
    TG_ASSIGN(flow, execute(statement));
    if (flow != Flow::kNext) break;
  }
  --depth_;
  return flow;
}

Result<Interpreter::Flow> Interpreter::execute(const Statement& statement) {
  line_ = statement.line;
  TG_TRY(charge(1));
  switch (statement.kind) {
    case StatementKind::kText:
      out_ += statement.text;
      TG_TRY(check_output());
      break;
    case StatementKind::kPrint: {
      TG_ASSIGN(Value value, evaluate(*statement.value));
      TG_TRY(print(value));
      break;
    }
    case StatementKind::kIf: return execute_if(statement);
    case StatementKind::kFor: return execute_for(statement);
    case StatementKind::kSet: TG_TRY(execute_set(statement)); break;
    case StatementKind::kSetBlock: TG_TRY(execute_set_block(statement)); break;
    case StatementKind::kMacro: define_macro(statement); break;
    case StatementKind::kCall: TG_TRY(execute_call_block(statement)); break;
    case StatementKind::kFilter: TG_TRY(execute_filter_block(statement)); break;
    case StatementKind::kScope: {
      TG_ASSIGN(std::string text, capture(statement.body));
      out_ += text;
      TG_TRY(check_output());
      break;
    }
    case StatementKind::kBreak: return Flow::kBreak;
    case StatementKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

Status Interpreter::check_output() const {
  if (static_cast<i64>(out_.size()) > kOutputBytesMax)
    return error(Code::kLimit, "output of more than " + std::to_string(kOutputBytesMax) + " bytes");
  return {};
}

Status Interpreter::print(const Value& value) {
  if (value.is_string()) {
    out_ += value.as_string();
  } else {
    TG_ASSIGN(std::string text, text_of(value));
    out_ += text;
  }
  return check_output();
}

Result<Interpreter::Flow> Interpreter::execute_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition) {
      TG_ASSIGN(Value condition, evaluate(*branch.condition));
      if (!is_truthy(condition)) continue;
    }
    return execute_body(branch.body);
  }
  return Flow::kNext;
}

// The items the loop will visit: its filter is applied beforehand, so that loop.length is right.
Result<List*> Interpreter::loop_items(const Statement& statement) {
  TG_ASSIGN(Value iterable, evaluate(*statement.value));
  TG_ASSIGN(std::vector<Value> items, items_of(iterable));
  List* kept = heap_.list();
  heap_.add_bytes(static_cast<i64>(items.size() * sizeof(Value)));
  for (const Value& item : items) {
    if (statement.condition) {
      Scope saved = scope_;
      scope_ = {saved.frame_begin, locals_.size(), false};
      TG_TRY(bind_targets(statement.targets, item));
      TG_ASSIGN(Value keeps, evaluate(*statement.condition));
      locals_.resize(scope_.begin);
      scope_ = saved;
      if (!is_truthy(keeps)) continue;
    }
    kept->items.push_back(item);
  }
  return kept;
}

Result<Interpreter::Flow> Interpreter::execute_for(const Statement& statement) {
  TG_ASSIGN(List * items, loop_items(statement));
  if (items->items.empty()) return execute_body(statement.orelse);
  Loop* loop = heap_.loop();
  loop->items = items;
  Scope saved = scope_;
  std::size_t begin = locals_.size();
  for (std::size_t i = 0; i < items->items.size(); ++i) {
    TG_TRY(charge(1));
    loop->index = static_cast<i64>(i);
    scope_ = {saved.frame_begin, begin, false};
    set_local("loop", Value::loop(loop));
    TG_TRY(bind_targets(statement.targets, items->items[i]));
    TG_ASSIGN(Flow flow, execute_body(statement.body));
    locals_.resize(begin);
    if (flow == Flow::kBreak) break;
  }
  scope_ = saved;
  return Flow::kNext;
}

Status Interpreter::bind_targets(const std::vector<Target>& targets, const Value& value) {
  if (targets.size() == 1) return bind_target(targets[0], value);
  TG_ASSIGN(std::vector<Value> parts, items_of(value));
  if (parts.size() != targets.size()) {
    return error("cannot unpack " + std::to_string(parts.size()) + " values into " +
                 std::to_string(targets.size()) + " names");
  }
  for (std::size_t i = 0; i < targets.size(); ++i) TG_TRY(bind_target(targets[i], parts[i]));
  return {};
}

Status Interpreter::bind_target(const Target& target, const Value& value) {
  if (target.attribute.empty()) {
    set_local(target.name, value);
    return {};
  }
  Value space = lookup(target.name);
  if (!space.is(Kind::kNamespace))
    return error("cannot set attribute '" + target.attribute + "': not a namespace");
  heap_.add_bytes(sizeof value);
  space.as_dict().set(Value::string(target.attribute), value);
  return {};
}

Status Interpreter::execute_set(const Statement& statement) {
  TG_ASSIGN(Value value, evaluate(*statement.value));
  return bind_targets(statement.targets, value);
}

// The text `body` prints, run in a scope of its own.
Result<std::string> Interpreter::capture(const std::vector<Statement>& body) {
  std::string outer = std::exchange(out_, {});
  Scope saved = scope_;
  scope_ = {saved.frame_begin, locals_.size(), false};
  TG_TRY(execute_body(body));
  locals_.resize(scope_.begin);
  scope_ = saved;
  return std::exchange(out_, std::move(outer));
}

// The block's text, put through the filters in statement.value if there are any.
Result<Value> Interpreter::filtered_block(const Statement& statement) {
  TG_ASSIGN(std::string text, capture(statement.body));
  TG_ASSIGN(Value value, make_string(std::move(text)));
  if (!statement.value) return value;
  Scope saved = scope_;
  scope_ = {saved.frame_begin, locals_.size(), false};
  set_local(kBlockTextName, value);
  TG_ASSIGN(Value filtered, evaluate(*statement.value));
  locals_.resize(scope_.begin);
  scope_ = saved;
  return filtered;
}

Status Interpreter::execute_set_block(const Statement& statement) {
  TG_ASSIGN(Value value, filtered_block(statement));
  return bind_targets(statement.targets, value);
}

Status Interpreter::execute_filter_block(const Statement& statement) {
  TG_ASSIGN(Value value, filtered_block(statement));
  return print(value);
}

void Interpreter::define_macro(const Statement& macro) {
  Callable* callable = heap_.callable();
  callable->macro = &macro;
  set_local(macro.text, Value::callable(callable));
}

// {% call f(x) %}body{% endcall %} calls f with the body as its macro `caller`.
Status Interpreter::execute_call_block(const Statement& statement) {
  Callable* caller = heap_.callable();
  caller->macro = &statement;
  caller->scope_begin = static_cast<i64>(scope_.frame_begin);
  caller->scope_end = static_cast<i64>(locals_.size());
  const Expr& expr = *statement.value;
  TG_ASSIGN(Value callee, evaluate(*expr.items[0]));
  TG_ASSIGN(Arguments arguments, evaluate_arguments(expr));
  arguments.named.emplace_back("caller", Value::callable(caller));
  TG_ASSIGN(Value value, call(callee, arguments));
  return print(value);
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  TG_TRY(charge(1));
  if (callee.is_undefined())
    return error("'" + std::string(callee.undefined_name()) +
                 "' is undefined and cannot be called");
  if (!callee.is(Kind::kCallable))
    return error("a " + std::string(type_name(callee)) + " cannot be called");
  const Callable& callable = callee.as_callable();
  if (callable.macro != nullptr) return call_macro(callable, arguments);
  return callable.function(*this, callable.self, arguments);
}

Result<Value> Interpreter::call_macro(const Callable& callable, const Arguments& arguments) {
  i32 line = line_;
  Scope saved = scope_;
  std::size_t begin = locals_.size();
  std::string outer = std::exchange(out_, {});
  // A call block runs while the scope around it still stands below on the stack.
  for (i64 i = callable.scope_begin; i >= 0 && i < callable.scope_end; ++i) {
    if (static_cast<std::size_t>(i) >= begin) return error("caller used after its block ended");
    locals_.push_back(Binding(locals_[static_cast<std::size_t>(i)]));
  }
  scope_ = {begin, locals_.size(), false};
  TG_TRY(bind_parameters(*callable.macro, arguments));
  TG_TRY(execute_body(callable.macro->body));
  locals_.resize(begin);
  scope_ = saved;
  line_ = line;
  return make_string(std::exchange(out_, std::move(outer)));
}

Status Interpreter::bind_parameters(const Statement& macro, const Arguments& arguments) {
  const std::vector<Parameter>& parameters = macro.parameters;
  if (arguments.positional.size() > parameters.size()) {
    return error("'" + macro.text + "' takes " + std::to_string(parameters.size()) +
                 " arguments, got " + std::to_string(arguments.positional.size()));
  }
  for (const std::pair<std::string_view, Value>& named : arguments.named) {
    bool is_known = named.first == "caller";
    for (const Parameter& parameter : parameters) is_known |= parameter.name == named.first;
    if (!is_known)
      return error("'" + macro.text + "' has no parameter '" + std::string(named.first) + "'");
    if (named.first == "caller") set_local("caller", named.second);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Value* given = arguments.find(i, parameters[i].name);
    Value value = given ? *given : Value::undefined(parameters[i].name);
    if (!given && parameters[i].otherwise) {
      TG_ASSIGN(value, evaluate(*parameters[i].otherwise));
    }
    set_local(parameters[i].name, value);
  }
  return {};
}

Value Interpreter::lookup(std::string_view name) const {
  for (std::size_t i = locals_.size(); i > scope_.frame_begin; --i) {
    if (locals_[i - 1].name == name) return locals_[i - 1].value;
  }
  for (const Binding& binding : globals_) {
    if (binding.name == name) return binding.value;
  }
  return Value::undefined(name);
}

void Interpreter::set_local(std::string_view name, const Value& value) {
  if (scope_.is_global) return set_global(name, value);
  for (std::size_t i = scope_.begin; i < locals_.size(); ++i) {
    if (locals_[i].name != name) continue;
    locals_[i].value = value;
    return;
  }
  locals_.push_back({name, value});
}

}  // namespace tg::jinja
