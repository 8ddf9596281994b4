#include "gateway/funds_terms.h"

#include <fmt/format.h>

#include "base/checked.h"

namespace tg::gateway {

namespace {

constexpr i64 kDecimals = 9;
constexpr std::size_t kTextMax = 64;
constexpr std::size_t kQuoteBytesMax = 16'384;

Problem wrong(std::string_view name, std::string_view text, std::string_view wanted) {
  return invalid_value(std::string(name), fmt::format("'{}' is \"{}\", not {}", name,
                                                      text.substr(0, kTextMax), wanted));
}

Problem set_max_cost(std::string_view name, std::string_view text, FundsTerms& out) {
  Result<MaxCost> limit = parse_max_cost(text);
  if (!limit.ok()) return wrong(name, text, limit.error().message);
  out.max_cost = *limit;
  return std::nullopt;
}

Problem set_mode(std::string_view name, std::string_view text, FundsTerms& out) {
  std::optional<market::HoldMode> mode = market::hold_mode_by_name(text);
  if (!mode) return wrong(name, text, "\"sliced\", \"guaranteed\" or \"best_effort\"");
  out.mode = *mode;
  return std::nullopt;
}

Problem set_quote(std::string_view name, std::string_view text, FundsTerms& out) {
  if (text.size() > kQuoteBytesMax) return wrong(name, text, "a quote: it is too long");
  out.quote = text;
  return std::nullopt;
}

}  // namespace

Result<MaxCost> parse_max_cost(std::string_view text) {
  const Error error{Code::kInvalid,
                    "an amount with up to 9 decimals and \"ST\", \"credit\" or nothing behind it"};
  MaxCost out;
  std::size_t space = text.find(' ');
  std::string_view number = text.substr(0, space);
  std::string_view unit = space == std::string_view::npos ? "" : text.substr(space + 1);
  if (unit == "ST") out.unit = MaxCost::Unit::kStandard;
  if (unit == "credit") out.unit = MaxCost::Unit::kCredit;
  if (out.unit == MaxCost::Unit::kOwn && space != std::string_view::npos) return error;
  std::size_t dot = number.find('.');
  std::string digits(number.substr(0, dot));
  std::string_view fraction =
      dot == std::string_view::npos ? std::string_view{} : number.substr(dot + 1);
  if (digits.empty() || (dot != std::string_view::npos && fraction.empty())) return error;
  if (static_cast<i64>(fraction.size()) > kDecimals) return error;
  digits += fraction;
  digits.append(static_cast<std::size_t>(kDecimals) - fraction.size(), '0');
  for (char c : digits) {
    if (c < '0' || c > '9') return error;
    std::optional<i64> tens = checked_mul<i64>(out.nano, 10);
    std::optional<i64> sum = tens ? checked_add<i64>(*tens, c - '0') : std::nullopt;
    if (!sum) return error;
    out.nano = *sum;
  }
  return out;
}

Problem read_funds_headers(const FundsHeaders& headers, FundsTerms& out) {
  Problem problem;
  if (!headers.max_cost.empty() && !out.max_cost)
    problem = set_max_cost("x-tokengrid-max-cost", headers.max_cost, out);
  bool is_mode_open = out.mode == market::HoldMode::kSliced;
  if (!problem && !headers.hold.empty() && is_mode_open)
    problem = set_mode("x-tokengrid-hold", headers.hold, out);
  if (!problem && !headers.quote.empty() && out.quote.empty())
    problem = set_quote("x-tokengrid-quote", headers.quote, out);
  return problem;
}

Problem read_funds_object(std::string_view name, dom::element value, FundsTerms& out) {
  dom::object fields;
  if (value.get(fields) != simdjson::SUCCESS) return wrong_type(name, "an object", value);
  for (dom::key_value_pair field : fields) {
    std::string path = fmt::format("{}.{}", name, field.key);
    std::string text;
    if (field.value.is_null()) continue;
    // The others say where to route (route_wishes.h), which refuses what nobody knows.
    if (field.key != "max_cost" && field.key != "hold" && field.key != "quote") continue;
    // Amounts are texts, so that no reader rounds them; whole ones may be numbers.
    if (field.key == "max_cost" && field.value.is_int64()) {
      text = std::to_string(field.value.get_int64().value_unsafe());
    } else if (Problem problem = read_string(path, field.value, text)) {
      return problem;
    }
    Problem problem = field.key == "max_cost" ? set_max_cost(path, text, out)
                      : field.key == "hold"   ? set_mode(path, text, out)
                                              : set_quote(path, text, out);
    if (problem) return problem;
  }
  return std::nullopt;
}

}  // namespace tg::gateway
