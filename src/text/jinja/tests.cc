// What may stand behind "is".
#include "text/jinja/builtin.h"
#include "text/jinja/text_operations.h"

namespace tg::jinja {
namespace {

template <Kind kKind>
Result<Value> is_kind(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(self.is(kKind));
}

Result<Value> is_defined(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(!self.is_undefined());
}
Result<Value> is_number(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(self.is_number());
}
Result<Value> is_true(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(self.is(Kind::kBool) && self.as_int() != 0);
}
Result<Value> is_false(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(self.is(Kind::kBool) && self.as_int() == 0);
}

// An undefined value can be looped over, and has a length: jinja2 calls it iterable and a sequence.
Result<Value> is_iterable(Interpreter&, const Value& self, const Arguments&) {
  return Value::boolean(self.is(Kind::kList) || self.is(Kind::kDict) || self.is_string() ||
                        self.is_undefined());
}
Result<i64> integer(Interpreter& run, const Value& value) {
  if (!value.is_integral()) return run.error("test of a " + std::string(type_name(value)));
  return value.as_int();
}
Result<Value> is_odd(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(i64 value, integer(run, self));
  return Value::boolean(value % 2 != 0);
}
Result<Value> is_even(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(i64 value, integer(run, self));
  return Value::boolean(value % 2 == 0);
}
Result<Value> is_divisible_by(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(Value rest, run.binary(Op::kMod, self, arguments.get(0, "num", Value())));
  return Value::boolean(!is_truthy(rest));
}

Result<Value> is_lower(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::string text, run.text_of(self));
  return Value::boolean(to_lower(text) == text && to_upper(text) != text);
}
Result<Value> is_upper(Interpreter& run, const Value& self, const Arguments&) {
  TG_ASSIGN(std::string text, run.text_of(self));
  return Value::boolean(to_upper(text) == text && to_lower(text) != text);
}

Result<Value> is_equal(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(bool same, run.equals(self, arguments.get(0, "other", Value())));
  return Value::boolean(same);
}
Result<Value> is_not_equal(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(bool same, run.equals(self, arguments.get(0, "other", Value())));
  return Value::boolean(!same);
}
Result<Value> is_in(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(bool found, run.contains(arguments.get(0, "seq", Value()), self));
  return Value::boolean(found);
}

// kLow..kHigh: the signs of order(self, other) that pass.
template <int kLow, int kHigh>
Result<Value> is_ordered(Interpreter& run, const Value& self, const Arguments& arguments) {
  TG_ASSIGN(int sign, run.order(self, arguments.get(0, "other", Value())));
  return Value::boolean(sign >= kLow && sign <= kHigh);
}

struct Named {
  std::string_view name;
  Function function;
};

constexpr Named kTests[] = {
    {"!=", is_not_equal},
    {"<", is_ordered<-1, -1>},
    {"<=", is_ordered<-1, 0>},
    {"==", is_equal},
    {">", is_ordered<1, 1>},
    {">=", is_ordered<0, 1>},
    {"boolean", is_kind<Kind::kBool>},
    {"callable", is_kind<Kind::kCallable>},
    {"defined", is_defined},
    {"divisibleby", is_divisible_by},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"even", is_even},
    {"false", is_false},
    {"float", is_kind<Kind::kFloat>},
    {"ge", is_ordered<0, 1>},
    {"greaterthan", is_ordered<1, 1>},
    {"gt", is_ordered<1, 1>},
    {"in", is_in},
    {"integer", is_kind<Kind::kInt>},
    {"iterable", is_iterable},
    {"le", is_ordered<-1, 0>},
    {"lessthan", is_ordered<-1, -1>},
    {"lower", is_lower},
    {"lt", is_ordered<-1, -1>},
    {"mapping", is_kind<Kind::kDict>},
    {"ne", is_not_equal},
    {"none", is_kind<Kind::kNone>},
    {"number", is_number},
    {"odd", is_odd},
    {"sameas", is_equal},
    {"sequence", is_iterable},
    {"string", is_kind<Kind::kString>},
    {"true", is_true},
    {"undefined", is_kind<Kind::kUndefined>},
    {"upper", is_upper},
};

}  // namespace

Function find_test(std::string_view name) {
  for (const Named& named : kTests) {
    if (named.name == name) return named.function;
  }
  return nullptr;
}

}  // namespace tg::jinja
