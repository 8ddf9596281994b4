#include "gateway/route_wishes.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace tg::gateway {
namespace {

constexpr f64 kNsPerMs = 1e6;
constexpr f64 kMicroPerCredit = 1e6;
constexpr std::size_t kNamesMax = 256;
constexpr std::size_t kNameBytesMax = 256;
constexpr f64 kMsMax = 86'400'000;
constexpr f64 kCreditMax = 1e12;

std::optional<f64> number_of(std::string_view text) {
  f64 value = 0;
  std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), value);
  bool is_whole = read.ec == std::errc() && read.ptr == text.data() + text.size();
  return is_whole && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::vector<std::string> names_of(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty() && names.size() <= kNamesMax) {
    std::size_t comma = std::min(list.find(','), list.size());
    std::string_view name = trimmed(list.substr(0, comma));
    if (!name.empty()) names.emplace_back(name);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return names;
}

// One setting from its text; what is wrong with it, if anything. False in `is_known` for a name
// that is none.
std::optional<std::string> set(RouteRequest& route, std::string_view name, std::string_view value,
                               bool& is_known) {
  is_known = true;
  auto number = [&](f64 max) -> std::optional<f64> {
    std::optional<f64> n = number_of(value);
    return n && *n >= 0 && *n <= max ? n : std::nullopt;
  };
  if (name == "max-price") {
    std::optional<f64> credit = number(kCreditMax);
    if (!credit || *credit == 0) return "must be credits above 0";
    route.wishes.price_max_ucredit =
        std::max<i64>(1, std::llround(std::min(*credit * kMicroPerCredit, 9e18)));
  } else if (name == "ttft-ms" || name == "tpot-ms") {
    std::optional<f64> ms = number(kMsMax);
    if (!ms || *ms == 0) return "must be milliseconds above 0";
    i64 ns = std::max<i64>(1, std::llround(*ms * kNsPerMs));
    (name == "ttft-ms" ? route.ttft_target_ns : route.wishes.tpot_target_ns) = ns;
  } else if (name == "energy-weight") {
    std::optional<f64> weight = number(kCreditMax);
    if (!weight) return "must be a number of 10^-6 credits per joule, not negative";
    route.wishes.energy_weight = *weight;
  } else if (name == "zone") {
    if (value.size() > kNameBytesMax) return "is too long";
    route.wishes.zone = value;
  } else if (name == "allow" || name == "deny") {
    std::vector<std::string> names = names_of(value);
    if (names.size() > kNamesMax) return "names too many suppliers";
    (name == "allow" ? route.wishes.allow : route.wishes.deny) = std::move(names);
  } else {
    is_known = false;
  }
  return std::nullopt;
}

ApiError bad(const std::string& name, std::string_view value, const std::string& why) {
  return invalid_value(
      name, "'" + name + "' " + why + ", not '" + std::string(value.substr(0, 100)) + "'");
}

// A field's value as the text a header would have; nullopt if it is neither text, number nor list
// of texts.
std::optional<std::string> text_of(simdjson::dom::element value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return std::string(text);
  if (value.is_number()) return simdjson::minify(value);
  simdjson::dom::array array;
  if (value.get(array) != simdjson::SUCCESS) return std::nullopt;
  std::string joined;
  for (simdjson::dom::element one : array) {
    std::string_view name;
    if (one.get(name) != simdjson::SUCCESS) return std::nullopt;
    joined += joined.empty() ? "" : ",";
    joined += name;
  }
  return joined;
}

std::optional<ApiError> read_body(std::string_view body, RouteRequest& route) {
  // Few requests have it, and parsing twice would cost all.
  if (body.find("\"tokengrid\"") == std::string_view::npos) return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  simdjson::dom::object fields;
  simdjson::dom::element member;
  simdjson::padded_string padded(body);
  // What is wrong with the body itself, its own parser says.
  if (parser.parse(padded).get(root) != simdjson::SUCCESS) return std::nullopt;
  if (root["tokengrid"].get(member) != simdjson::SUCCESS) return std::nullopt;
  if (member.get(fields) != simdjson::SUCCESS)
    return invalid_value("tokengrid", "'tokengrid' must be an object");
  for (simdjson::dom::key_value_pair field : fields) {
    std::string name(field.key);
    for (char& c : name) c = c == '_' ? '-' : c;
    if (name == "max-cost" || name == "hold" || name == "quote") continue;  // funds_terms.h
    std::string full = "tokengrid." + std::string(field.key.substr(0, 100));
    std::optional<std::string> value = text_of(field.value);
    if (!value) return invalid_value(full, "'" + full + "' must be a text, a number or a list");
    bool is_known = false;
    std::optional<std::string> wrong = set(route, name, *value, is_known);
    if (!is_known) return invalid_value(full, "'" + full + "' is not known");
    if (wrong) return bad(full, *value, *wrong);
  }
  return std::nullopt;
}

}  // namespace

ApiResult<RouteRequest> read_route_wishes(RouteHeaders headers, std::string_view body) {
  RouteRequest route;
  std::optional<ApiError> wrong_body = read_body(body, route);
  if (wrong_body) return *std::move(wrong_body);
  for (const auto& [name, value] : headers) {
    bool is_known = false;
    std::optional<std::string> wrong = set(route, name, trimmed(value), is_known);
    if (wrong) return bad("x-tokengrid-" + name, value, *wrong);
  }
  return route;
}

}  // namespace tg::gateway
