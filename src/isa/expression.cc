#include "isa/expression.h"

#include <charconv>

#include "base/checked.h"
#include "isa/limits.h"

namespace tg::isa {

namespace {

constexpr int kDepthMax = 32;  // Nested parentheses.

// Coefficients while evaluating; i64 throughout so that differences may pass below zero.
struct Linear {
  i64 c[4] = {0, 0, 0, 0};  // constant, T, S, R
  bool is_constant() const { return c[1] == 0 && c[2] == 0 && c[3] == 0; }
};

class Expression {
 public:
  Expression(TokenCursor& cursor, const Config& config) : cursor_(cursor), config_(config) {}

  Result<Linear> sum() {
    TG_ASSIGN(Linear left, product());
    while (cursor_.is("+") || cursor_.is("-")) {
      bool minus = cursor_.next().text == "-";
      TG_ASSIGN(Linear right, product());
      for (int i = 0; i < 4; ++i) {
        std::optional<i64> v =
            minus ? checked_sub(left.c[i], right.c[i]) : checked_add(left.c[i], right.c[i]);
        if (!v) return cursor_.error("an expression overflows");
        left.c[i] = *v;
      }
    }
    return left;
  }

 private:
  Result<Linear> product() {
    TG_ASSIGN(Linear left, atom());
    while (cursor_.is("*") || cursor_.is("/")) {
      bool divide = cursor_.next().text == "/";
      TG_ASSIGN(Linear right, atom());
      if (divide) {
        TG_ASSIGN(left, quotient(left, right));
      } else {
        TG_ASSIGN(left, times(left, right));
      }
    }
    return left;
  }

  Result<Linear> times(const Linear& a, const Linear& b) {
    if (!a.is_constant() && !b.is_constant())
      return cursor_.error("a product of two step symbols is not linear");
    const Linear& form = a.is_constant() ? b : a;
    i64 factor = a.is_constant() ? a.c[0] : b.c[0];
    Linear out;
    for (int i = 0; i < 4; ++i) {
      std::optional<i64> v = checked_mul(form.c[i], factor);
      if (!v) return cursor_.error("an expression overflows");
      out.c[i] = *v;
    }
    return out;
  }

  Result<Linear> quotient(const Linear& a, const Linear& b) {
    if (!b.is_constant() || b.c[0] <= 0) return cursor_.error("division by a non-positive number");
    Linear out;
    for (int i = 0; i < 4; ++i) {
      if (a.c[i] % b.c[0] != 0)
        return cursor_.error(std::to_string(a.c[i]) + " is not divisible by " +
                             std::to_string(b.c[0]));
      out.c[i] = a.c[i] / b.c[0];
    }
    return out;
  }

  Result<Linear> atom() {
    if (cursor_.accept("(")) {
      if (++depth_ > kDepthMax) return cursor_.error("parentheses nested too deeply");
      TG_ASSIGN(Linear inner, sum());
      TG_TRY(cursor_.expect(")"));
      --depth_;
      return inner;
    }
    TG_ASSIGN(std::string_view word, cursor_.take(TokenKind::kWord, "a number or a name"));
    return named_or_number(word);
  }

  Result<Linear> named_or_number(std::string_view word) {
    static constexpr std::string_view kSymbols[] = {"", "T", "S", "R"};
    Linear out;
    for (int i = 1; i < 4; ++i) {
      if (word != kSymbols[i]) continue;
      out.c[i] = 1;
      return out;
    }
    Config::const_iterator found = config_.find(word);
    if (found != config_.end()) {
      out.c[0] = found->second;
      return out;
    }
    TG_ASSIGN(out.c[0], parse_digits(cursor_, word));
    return out;
  }

  TokenCursor& cursor_;
  const Config& config_;
  int depth_ = 0;
};

}  // namespace

Result<i64> parse_digits(const TokenCursor& cursor, std::string_view word) {
  bool hex = word.starts_with("0x");
  std::string_view digits = hex ? word.substr(2) : word;
  u64 value = 0;
  std::from_chars_result r =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (digits.empty() || r.ptr != digits.data() + digits.size())
    return cursor.error("'" + std::string(word) + "' is neither a number nor a known name");
  if (r.ec != std::errc() || value > static_cast<u64>(INT64_MAX))
    return cursor.error(std::string(word) + " is too large");
  return static_cast<i64>(value);
}

Result<Dim> parse_dim(TokenCursor& cursor, const Config& config) {
  TG_ASSIGN(Linear form, Expression(cursor, config).sum());
  for (int i = 0; i < 4; ++i) {
    i64 max = i == 0 ? kDimMax : kDimFactorMax;
    if (form.c[i] < 0 || form.c[i] > max)
      return cursor.error("dimension part " + std::to_string(form.c[i]) + " is not in 0.." +
                          std::to_string(max));
  }
  return Dim{.constant = form.c[0],
             .t = static_cast<i32>(form.c[1]),
             .s = static_cast<i32>(form.c[2]),
             .r = static_cast<i32>(form.c[3])};
}

Result<i64> parse_integer(TokenCursor& cursor, const Config& config, i64 max) {
  TG_ASSIGN(Linear form, Expression(cursor, config).sum());
  if (!form.is_constant()) return cursor.error("expected a constant, found a step symbol");
  if (form.c[0] < 0 || form.c[0] > max)
    return cursor.error(std::to_string(form.c[0]) + " is not in 0.." + std::to_string(max));
  return form.c[0];
}

Result<std::vector<i64>> parse_shape(TokenCursor& cursor, const Config& config) {
  std::vector<i64> dims;
  TG_TRY(cursor.expect("["));
  do {
    TG_ASSIGN(i64 dim, parse_integer(cursor, config, kDimMax));
    dims.push_back(dim);
  } while (cursor.accept(","));
  TG_TRY(cursor.expect("]"));
  return dims;
}

Result<Type> parse_type(TokenCursor& cursor, const Config& config) {
  TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "a type"));
  if (word == "batch") return Type{.kind = ValueKind::kBatch};
  if (word == "params") return Type{.kind = ValueKind::kParams};
  Type type;
  if (word == "perm") {
    type.kind = ValueKind::kPerm;
  } else {
    std::optional<DType> dtype = dtype_by_name(word);
    if (!dtype) return cursor.error("unknown type '" + std::string(word) + "'");
    type.dtype = *dtype;
  }
  TG_TRY(cursor.expect("["));
  do {
    TG_ASSIGN(Dim dim, parse_dim(cursor, config));
    type.dims.push_back(dim);
  } while (cursor.accept(","));
  TG_TRY(cursor.expect("]"));
  return type;
}

static void add_term(std::string& out, i64 factor, std::string_view symbol) {
  if (factor == 0) return;
  if (!out.empty()) out += '+';
  if (factor != 1) out += std::to_string(factor) + "*";
  out += symbol;
}

std::string to_text(const Dim& dim) {
  std::string out;
  add_term(out, dim.t, "T");
  add_term(out, dim.s, "S");
  add_term(out, dim.r, "R");
  if (out.empty()) return std::to_string(dim.constant);
  if (dim.constant != 0) out += "+" + std::to_string(dim.constant);
  return out;
}

std::string to_text(const Type& type) {
  if (type.kind == ValueKind::kBatch) return "batch";
  if (type.kind == ValueKind::kParams) return "params";
  std::string out(type.kind == ValueKind::kPerm ? "perm" : info(type.dtype).name);
  for (std::size_t i = 0; i < type.dims.size(); ++i) {
    out += i == 0 ? '[' : ',';
    out += to_text(type.dims[i]);
  }
  return out + ']';
}

std::string shape_text(std::span<const i64> dims) {
  std::string out;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    out += i == 0 ? '[' : ',';
    out += std::to_string(dims[i]);
  }
  return out + ']';
}

}  // namespace tg::isa
