// Expressions.
#include <algorithm>
#include <array>

#include "text/jinja/interpreter.h"
#include "text/jinja/printing.h"
#include "text/unicode.h"

namespace tg::jinja {

Result<Value> Interpreter::evaluate(const Expr& expr) {
  line_ = expr.line;
  TG_TRY(charge(1));
  if (++depth_ > kRunDepthMax)
    return error(Code::kLimit, "runs deeper than " + std::to_string(kRunDepthMax));
  Result<Value> value = evaluate_kind(expr);
  --depth_;
  return value;
}

Result<Value> Interpreter::evaluate_kind(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.constant;
    case ExprKind::kName: return lookup(expr.text);
    case ExprKind::kList:
    case ExprKind::kTuple: return evaluate_list(expr);
    case ExprKind::kDict: return evaluate_dict(expr);
    case ExprKind::kAttribute: {
      TG_ASSIGN(Value value, evaluate(*expr.items[0]));
      return attribute(value, expr.text);
    }
    case ExprKind::kSubscript: {
      TG_ASSIGN(Value value, evaluate(*expr.items[0]));
      TG_ASSIGN(Value key, evaluate(*expr.items[1]));
      return subscript(value, key);
    }
    case ExprKind::kSlice: return evaluate_slice(expr);
    case ExprKind::kCall: return evaluate_call(expr);
    case ExprKind::kFilter:
    case ExprKind::kTest: return evaluate_filter_or_test(expr);
    case ExprKind::kNegate:
    case ExprKind::kPlus: return evaluate_sign(expr);
    case ExprKind::kNot:
    case ExprKind::kAnd:
    case ExprKind::kOr: return evaluate_logic(expr);
    case ExprKind::kConditional: return evaluate_conditional(expr);
    case ExprKind::kBinary: return evaluate_binary(expr);
    case ExprKind::kCompare: return evaluate_compare(expr);
    case ExprKind::kConcat: return evaluate_concat(expr);
  }
  return error("bad expression");
}

Result<Value> Interpreter::evaluate_list(const Expr& expr) {
  std::vector<Value> items;
  for (const ExprPtr& item : expr.items) {
    TG_ASSIGN(Value value, evaluate(*item));
    items.push_back(value);
  }
  Value list = make_list(std::move(items));
  list.as_list().is_tuple = expr.kind == ExprKind::kTuple;
  return list;
}

Result<Value> Interpreter::evaluate_dict(const Expr& expr) {
  Dict* dict = heap_.dict();
  for (std::size_t i = 0; i < expr.items.size(); i += 2) {
    TG_ASSIGN(Value key, evaluate(*expr.items[i]));
    TG_ASSIGN(Value value, evaluate(*expr.items[i + 1]));
    if (!key.is_string() && !key.is_number() && !key.is(Kind::kNone))
      return error("a " + std::string(type_name(key)) + " cannot be a key");
    TG_TRY(charge(static_cast<i64>(i / 16)));
    heap_.add_bytes(sizeof(std::pair<Value, Value>));
    dict->set(key, value);
  }
  return Value::dict(dict);
}

Result<Value> Interpreter::attribute(const Value& value, std::string_view name) {
  if (value.is_undefined()) {
    return error("'" + std::string(value.undefined_name()) + "' is undefined and has no '" +
                 std::string(name) + "'");
  }
  if (value.is(Kind::kLoop)) return loop_attribute(*this, value.as_loop(), name);
  if (Function method = find_method(value.kind(), name)) {
    Callable* callable = heap_.callable();
    callable->function = method;
    callable->self = value;
    return Value::callable(callable);
  }
  if (!value.is(Kind::kDict) && !value.is(Kind::kNamespace)) return Value::undefined(name);
  TG_TRY(charge(static_cast<i64>(value.as_dict().entries.size() / 16)));
  const Value* found = value.as_dict().find(name);
  return found ? *found : Value::undefined(name);
}

Result<Value> Interpreter::subscript(const Value& value, const Value& key) {
  if (value.is_undefined())
    return error("'" + std::string(value.undefined_name()) + "' is undefined and has no items");
  if (value.is(Kind::kDict)) {
    TG_TRY(charge(static_cast<i64>(value.as_dict().entries.size() / 16)));
    if (const Value* found = value.as_dict().find(key)) return *found;
  }
  if (key.is_integral() && value.is(Kind::kList)) {
    const std::vector<Value>& items = value.as_list().items;
    i64 size = static_cast<i64>(items.size());
    i64 index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    return index >= 0 && index < size ? items[index] : Value::undefined("list item");
  }
  if (key.is_integral() && value.is_string()) {
    std::string_view text = value.as_string();
    TG_TRY(charge_bytes(text.size()));
    i64 index = key.as_int() < 0 ? key.as_int() + char_count(text) : key.as_int();
    i64 at = index < 0 ? static_cast<i64>(text.size()) : char_offset(text, index);
    if (at >= static_cast<i64>(text.size())) return Value::undefined("character");
    return Value::string(text.substr(at, utf8_size(static_cast<u8>(text[at]))));
  }
  if (key.is_string()) return attribute(value, key.as_string());
  return Value::undefined("item");
}

namespace {

// Python's slice of a sequence of `size`: the indexes begin, begin + step, ... (`count` of them).
struct Slice {
  i64 begin = 0;
  i64 step = 1;
  i64 count = 0;
};

struct SliceBounds {
  const Value* begin;
  const Value* end;
  i64 step;
};

i64 clamp_index(const Value* bound, i64 size, i64 otherwise, i64 step) {
  if (bound == nullptr) return otherwise;
  i64 index = bound->as_int();
  if (index < 0) index = index < -size ? -1 : index + size;
  i64 lowest = step > 0 ? 0 : -1;
  return std::clamp(index, lowest, step > 0 ? size : size - 1);
}

Slice resolve_slice(const SliceBounds& bounds, i64 size) {
  i64 step = bounds.step;
  i64 begin = clamp_index(bounds.begin, size, step > 0 ? 0 : size - 1, step);
  i64 end = clamp_index(bounds.end, size, step > 0 ? size : -1, step);
  i64 distance = step > 0 ? end - begin : begin - end;
  i64 stride = step > 0 ? step : -step;
  return {begin, step, distance <= 0 ? 0 : (distance - 1) / stride + 1};
}

}  // namespace

Result<Value> Interpreter::evaluate_slice(const Expr& expr) {
  TG_ASSIGN(Value value, evaluate(*expr.items[0]));
  std::array<Value, 3> parts;
  std::array<const Value*, 3> given{};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!expr.items[i + 1]) continue;
    TG_ASSIGN(parts[i], evaluate(*expr.items[i + 1]));
    if (parts[i].is(Kind::kNone)) continue;
    if (!parts[i].is_integral()) return error("slice bounds must be integers");
    given[i] = &parts[i];
  }
  SliceBounds bounds{given[0], given[1], given[2] ? given[2]->as_int() : 1};
  if (bounds.step == 0 || bounds.step == INT64_MIN) return error("bad slice step");
  if (value.is_undefined())
    return error("'" + std::string(value.undefined_name()) + "' is undefined and has no items");
  if (!value.is_string() && !value.is(Kind::kList))
    return error("a " + std::string(type_name(value)) + " cannot be sliced");
  if (value.is_string() && bounds.step == 1) {
    std::string_view text = value.as_string();
    TG_TRY(charge_bytes(text.size()));
    Slice slice = resolve_slice(bounds, char_count(text));
    std::string_view rest = text.substr(char_offset(text, slice.begin));
    return Value::string(rest.substr(0, char_offset(rest, slice.count)));
  }
  TG_ASSIGN(std::vector<Value> items, items_of(value));
  Slice slice = resolve_slice(bounds, static_cast<i64>(items.size()));
  std::vector<Value> chosen;
  for (i64 i = 0; i < slice.count; ++i) chosen.push_back(items[slice.begin + i * slice.step]);
  if (!value.is_string()) return make_list(std::move(chosen));
  std::string text;
  for (const Value& item : chosen) text += item.as_string();
  return make_string(std::move(text));
}

Result<Arguments> Interpreter::evaluate_arguments(const Expr& expr) {
  Arguments arguments;
  for (std::size_t i = 1; i < expr.items.size(); ++i) {
    TG_ASSIGN(Value value, evaluate(*expr.items[i]));
    arguments.positional.push_back(value);
  }
  for (const std::pair<std::string, ExprPtr>& named : expr.named) {
    TG_ASSIGN(Value value, evaluate(*named.second));
    arguments.named.emplace_back(named.first, value);
  }
  return arguments;
}

Result<Value> Interpreter::evaluate_call(const Expr& expr) {
  TG_ASSIGN(Value callee, evaluate(*expr.items[0]));
  TG_ASSIGN(Arguments arguments, evaluate_arguments(expr));
  line_ = expr.line;
  return call(callee, arguments);
}

Result<Value> Interpreter::evaluate_filter_or_test(const Expr& expr) {
  TG_ASSIGN(Value self, evaluate(*expr.items[0]));
  TG_ASSIGN(Arguments arguments, evaluate_arguments(expr));
  line_ = expr.line;
  if (self.is_string()) TG_TRY(charge_bytes(self.as_string().size()));
  return expr.function(*this, self, arguments);
}

Result<Value> Interpreter::evaluate_logic(const Expr& expr) {
  TG_ASSIGN(Value left, evaluate(*expr.items[0]));
  if (expr.kind == ExprKind::kNot) return Value::boolean(!is_truthy(left));
  bool is_decided = is_truthy(left) == (expr.kind == ExprKind::kOr);
  if (is_decided) return left;
  return evaluate(*expr.items[1]);
}

Result<Value> Interpreter::evaluate_conditional(const Expr& expr) {
  TG_ASSIGN(Value condition, evaluate(*expr.items[1]));
  if (is_truthy(condition)) return evaluate(*expr.items[0]);
  if (!expr.items[2]) return Value::undefined("missing else");
  return evaluate(*expr.items[2]);
}

Result<Value> Interpreter::evaluate_binary(const Expr& expr) {
  TG_ASSIGN(Value left, evaluate(*expr.items[0]));
  TG_ASSIGN(Value right, evaluate(*expr.items[1]));
  line_ = expr.line;
  return binary(expr.op, left, right);
}

Result<Value> Interpreter::evaluate_compare(const Expr& expr) {
  TG_ASSIGN(Value left, evaluate(*expr.items[0]));
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    TG_ASSIGN(Value right, evaluate(*expr.items[i + 1]));
    TG_ASSIGN(bool holds, compare(expr.ops[i], left, right));
    if (!holds) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::evaluate_concat(const Expr& expr) {
  std::string text;
  for (const ExprPtr& item : expr.items) {
    TG_ASSIGN(Value value, evaluate(*item));
    TG_ASSIGN(std::string part, text_of(value));
    text += part;
  }
  return make_string(std::move(text));
}

Result<Value> Interpreter::evaluate_sign(const Expr& expr) {
  TG_ASSIGN(Value value, evaluate(*expr.items[0]));
  if (!value.is_number()) return error("sign before a " + std::string(type_name(value)));
  if (expr.kind == ExprKind::kPlus)
    return value.is_integral() ? Value::integer(value.as_int()) : value;
  if (!value.is_integral()) return Value::real(-value.as_real());
  return binary(Op::kSub, Value::integer(0), value);
}

Result<Value> Interpreter::make_string(std::string text) {
  TG_TRY(charge_bytes(text.size()));
  return heap_.string(std::move(text));
}

Result<Value> Interpreter::concatenate(std::string_view a, std::string_view b) {
  std::string text;
  text.reserve(a.size() + b.size());
  text.append(a).append(b);
  return make_string(std::move(text));
}

Value Interpreter::make_list(std::vector<Value> items) {
  List* list = heap_.list();
  heap_.add_bytes(static_cast<i64>(items.size() * sizeof(Value)));
  list->items = std::move(items);
  return Value::list(list);
}

Result<std::string> Interpreter::text_of(const Value& value) {
  std::string text;
  TG_TRY(append_str(*this, text, value));
  TG_TRY(charge_bytes(text.size()));
  return text;
}

Result<std::vector<Value>> Interpreter::items_of(const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::kUndefined: break;
    case Kind::kList: items = value.as_list().items; break;
    case Kind::kDict:
      for (const std::pair<Value, Value>& entry : value.as_dict().entries)
        items.push_back(entry.first);
      break;
    case Kind::kString: {
      std::string_view text = value.as_string();
      TG_TRY(charge(static_cast<i64>(text.size())));
      for (std::size_t at = 0; at < text.size();) {
        std::size_t size = static_cast<std::size_t>(utf8_size(static_cast<u8>(text[at])));
        items.push_back(Value::string(text.substr(at, size)));
        at += size;
      }
      break;
    }
    default: return error("cannot loop over a " + std::string(type_name(value)));
  }
  TG_TRY(charge(static_cast<i64>(items.size())));
  return items;
}

}  // namespace tg::jinja
