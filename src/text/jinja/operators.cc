// Arithmetic and comparison, as Python does them.
#include <cmath>

#include "base/checked.h"
#include "text/jinja/interpreter.h"

namespace tg::jinja {
namespace {

// Rounds toward minus infinity. REQUIRES: b != 0, not INT64_MIN / -1.
i64 floor_div(i64 a, i64 b) {
  i64 quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::string_view op_name(Op op) {
  constexpr std::string_view kNames[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">", "<=", ">=", "in", "not in"};
  return kNames[static_cast<std::size_t>(op)];
}

template <typename T>
int sign_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

}  // namespace

Result<bool> Interpreter::equals(const Value& a, const Value& b, i64 depth) {
  TG_TRY(charge(1));
  if (depth > kValueDepthMax)
    return error(Code::kLimit, "value nests deeper than " + std::to_string(kValueDepthMax));
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_real() == b.as_real();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString:
      TG_TRY(charge_bytes(std::min(a.as_string().size(), b.as_string().size())));
      return a.as_string() == b.as_string();
    case Kind::kList: {
      const std::vector<Value>& x = a.as_list().items;
      const std::vector<Value>& y = b.as_list().items;
      if (x.size() != y.size()) return false;
      for (std::size_t i = 0; i < x.size(); ++i) {
        TG_ASSIGN(bool same, equals(x[i], y[i], depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kDict: {
      if (a.as_dict().entries.size() != b.as_dict().entries.size()) return false;
      for (const std::pair<Value, Value>& entry : a.as_dict().entries) {
        TG_TRY(charge(static_cast<i64>(b.as_dict().entries.size() / 16)));
        const Value* other = b.as_dict().find(entry.first);
        if (other == nullptr) return false;
        TG_ASSIGN(bool same, equals(entry.second, *other, depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kNamespace: return &a.as_dict() == &b.as_dict();
    case Kind::kLoop: return &a.as_loop() == &b.as_loop();
    case Kind::kCallable: return &a.as_callable() == &b.as_callable();
    default: return false;
  }
}

Result<int> Interpreter::order(const Value& a, const Value& b, i64 depth) {
  TG_TRY(charge(1));
  if (a.is_integral() && b.is_integral()) return sign_of(a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return sign_of(a.as_real(), b.as_real());
  if (a.is_string() && b.is_string()) {
    TG_TRY(charge_bytes(std::min(a.as_string().size(), b.as_string().size())));
    // The order of UTF-8 bytes is the order of code points.
    return sign_of(a.as_string(), b.as_string());
  }
  bool are_lists = a.is(Kind::kList) && b.is(Kind::kList) && depth < kValueDepthMax;
  if (!are_lists) {
    return error("cannot order a " + std::string(type_name(a)) + " and a " +
                 std::string(type_name(b)));
  }
  const std::vector<Value>& x = a.as_list().items;
  const std::vector<Value>& y = b.as_list().items;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    TG_ASSIGN(int sign, order(x[i], y[i], depth + 1));
    if (sign != 0) return sign;
  }
  return sign_of(x.size(), y.size());
}

Result<bool> Interpreter::contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (!item.is_string())
        return error("'in <string>' requires a string, not a " + std::string(type_name(item)));
      TG_TRY(charge_search(container.as_string(), item.as_string()));
      return container.as_string().find(item.as_string()) != std::string_view::npos;
    case Kind::kDict:
      TG_TRY(charge(static_cast<i64>(container.as_dict().entries.size() / 16)));
      return container.as_dict().find(item) != nullptr;
    case Kind::kList:
      for (const Value& candidate : container.as_list().items) {
        TG_ASSIGN(bool same, equals(candidate, item));
        if (same) return true;
      }
      return false;
    case Kind::kUndefined: return false;
    default: return error("cannot look for a value in a " + std::string(type_name(container)));
  }
}

Result<bool> Interpreter::compare(Op op, const Value& a, const Value& b) {
  if (op == Op::kIn) return contains(b, a);
  if (op == Op::kNotIn) {
    TG_ASSIGN(bool found, contains(b, a));
    return !found;
  }
  if (op == Op::kEq || op == Op::kNe) {
    TG_ASSIGN(bool same, equals(a, b));
    return same == (op == Op::kEq);
  }
  TG_ASSIGN(int sign, order(a, b));
  if (op == Op::kLt) return sign < 0;
  if (op == Op::kGt) return sign > 0;
  if (op == Op::kLe) return sign <= 0;
  return sign >= 0;
}

Result<Value> Interpreter::binary(Op op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return arithmetic_int(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return arithmetic_real(op, a.as_real(), b.as_real());
  if (op == Op::kAdd && a.is_string() && b.is_string())
    return concatenate(a.as_string(), b.as_string());
  if (op == Op::kAdd && a.is(Kind::kList) && b.is(Kind::kList)) {
    std::vector<Value> items = a.as_list().items;
    items.insert(items.end(), b.as_list().items.begin(), b.as_list().items.end());
    TG_TRY(charge(static_cast<i64>(items.size())));
    return make_list(std::move(items));
  }
  if (op == Op::kMul && b.is_integral()) return repeat(a, b.as_int());
  if (op == Op::kMul && a.is_integral()) return repeat(b, a.as_int());
  if (op == Op::kMod && a.is_string()) return error(Code::kUnsupported, "'%' on a string");
  for (const Value* operand : {&a, &b}) {
    if (operand->is_undefined())
      return error("'" + std::string(operand->undefined_name()) + "' is undefined, in '" +
                   std::string(op_name(op)) + "'");
  }
  return error("'" + std::string(op_name(op)) + "' of a " + std::string(type_name(a)) + " and a " +
               std::string(type_name(b)));
}

// "ab" * 3, [0] * 3
Result<Value> Interpreter::repeat(const Value& a, i64 count) {
  count = std::max<i64>(count, 0);
  i64 size = a.is_string()       ? static_cast<i64>(a.as_string().size())
             : a.is(Kind::kList) ? static_cast<i64>(a.as_list().items.size())
                                 : -1;
  if (size < 0) return error("'*' of a " + std::string(type_name(a)) + " and an int");
  std::optional<i64> total = checked_mul(size, count);
  if (!total || *total > kOutputBytesMax) return error(Code::kLimit, "'*' gives too long a value");
  TG_TRY(charge(*total / 16));
  if (a.is_string()) {
    std::string text;
    for (i64 at = 0; at < *total; at += size) text += a.as_string();
    return make_string(std::move(text));
  }
  TG_TRY(charge(*total));
  std::vector<Value> items;
  for (i64 at = 0; at < *total; ++at) items.push_back(a.as_list().items[at % size]);
  return make_list(std::move(items));
}

Result<Value> Interpreter::arithmetic_int(Op op, i64 a, i64 b) {
  bool divides = op == Op::kDiv || op == Op::kFloorDiv || op == Op::kMod;
  if (divides && b == 0) return error("division by zero");
  std::optional<i64> result;
  switch (op) {
    case Op::kAdd: result = checked_add(a, b); break;
    case Op::kSub: result = checked_sub(a, b); break;
    case Op::kMul: result = checked_mul(a, b); break;
    case Op::kDiv: return Value::real(static_cast<f64>(a) / static_cast<f64>(b));
    case Op::kFloorDiv:
      if (b != -1) return Value::integer(floor_div(a, b));
      result = checked_sub<i64>(0, a);
      break;
    case Op::kMod:
      if (b == -1) return Value::integer(0);
      return Value::integer(a - floor_div(a, b) * b);
    case Op::kPow:
      if (b < 0) return arithmetic_real(op, static_cast<f64>(a), static_cast<f64>(b));
      result = 1;
      // Beyond 64 factors only 0, 1 and -1 stay in range; those depend on b's parity alone.
      if (b > 64 && a >= -1 && a <= 1) b = 64 + b % 2;
      for (i64 i = 0; i < b && result; ++i) result = checked_mul(*result, a);
      break;
    default: break;
  }
  if (!result) return error(Code::kLimit, "integer overflow");
  return Value::integer(*result);
}

Result<Value> Interpreter::arithmetic_real(Op op, f64 a, f64 b) {
  bool divides = op == Op::kDiv || op == Op::kFloorDiv || op == Op::kMod;
  if (divides && b == 0) return error("division by zero");
  switch (op) {
    case Op::kAdd: return Value::real(a + b);
    case Op::kSub: return Value::real(a - b);
    case Op::kMul: return Value::real(a * b);
    case Op::kDiv: return Value::real(a / b);
    case Op::kFloorDiv: return Value::real(std::floor(a / b));
    case Op::kMod: return Value::real(a - std::floor(a / b) * b);
    default: return Value::real(std::pow(a, b));
  }
}

}  // namespace tg::jinja
