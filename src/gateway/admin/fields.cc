#include "gateway/admin/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace tg::gateway {
namespace {

using nlohmann::json;

Error wrong_type(const char* name, const char* wanted) {
  return {Code::kInvalid, fmt::format("'{}' must be {}", name, wanted)};
}

json time_or_null(const std::optional<Timestamp>& time) {
  return time ? json(to_rfc3339(*time)) : json(nullptr);
}

json limits_json(const RateLimits& limits) {
  return {{"requests_per_minute", limits.requests_per_minute},
          {"tokens_per_minute", limits.tokens_per_minute},
          {"nst_per_minute", limits.nst_per_minute},
          {"concurrent", limits.concurrent}};
}

Result<std::optional<RateLimits>> read_limits(Fields& fields, RateLimits limits) {
  const json* object = fields.object("limits");
  if (object == nullptr) return std::optional<RateLimits>();
  TG_ASSIGN(Fields inner, Fields::of(*object));
  const std::pair<const char*, i64*> all[] = {{"requests_per_minute", &limits.requests_per_minute},
                                              {"tokens_per_minute", &limits.tokens_per_minute},
                                              {"nst_per_minute", &limits.nst_per_minute},
                                              {"concurrent", &limits.concurrent}};
  for (const auto& [name, value] : all) {
    TG_ASSIGN(std::optional<i64> given, inner.integer(name));
    if (given) *value = *given;
  }
  TG_TRY(inner.finish());
  return std::optional<RateLimits>(limits);
}

Result<std::optional<ScopeSet>> read_scopes(Fields& fields) {
  TG_ASSIGN(std::optional<std::vector<std::string>> names, fields.texts("scopes"));
  if (!names) return std::optional<ScopeSet>();
  std::vector<Scope> scopes;
  for (const std::string& text : *names) {
    std::optional<Scope> scope = scope_by_name(text);
    if (!scope) {
      return Error{Code::kInvalid, fmt::format("'{}' is no scope; there are inference, usage:read, "
                                               "admin:read and admin",
                                               text)};
    }
    scopes.push_back(*scope);
  }
  return std::optional<ScopeSet>(ScopeSet::of(scopes));
}

i64 days_from_civil(i64 year, i64 month, i64 day) {
  year -= month <= 2 ? 1 : 0;
  i64 era = (year >= 0 ? year : year - 399) / 400;
  i64 year_of_era = year - era * 400;
  i64 day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

}  // namespace

Result<Timestamp> parse_time(const std::string& text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, end = 0;
  int length = static_cast<int>(text.size());
  Error bad{Code::kInvalid,
            "'" + text.substr(0, 40) + "' is no time like 2027-01-31 or 2027-01-31T12:00:00Z"};
  bool is_day = std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3;
  if (is_day && end != length) {
    int more = 0;
    is_day =
        std::sscanf(text.c_str() + end, "T%2d:%2d:%2dZ%n", &hour, &minute, &second, &more) == 3;
    end += more;
  }
  bool is_sane = is_day && end == length && year >= 1970 && year <= 2200 && month >= 1 &&
                 month <= 12 && day >= 1 && day <= 31 && hour >= 0 && hour < 24 && minute >= 0 &&
                 minute < 60 && second >= 0 && second < 60;
  if (!is_sane) return bad;
  i64 seconds = days_from_civil(year, month, day) * 86'400 + hour * 3'600 + minute * 60 + second;
  return Timestamp{seconds * 1'000'000'000};
}

Result<Fields> Fields::of(const json& body) {
  if (!body.is_object()) return Error{Code::kInvalid, "the body must be a JSON object"};
  return Fields(body);
}

const json* Fields::take(const char* name) {
  taken_.emplace_back(name);
  auto found = body_->find(name);
  return found == body_->end() ? nullptr : &*found;
}

Result<std::optional<std::string>> Fields::text(const char* name) {
  const json* value = take(name);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong_type(name, "a string");
  return std::optional<std::string>(value->get<std::string>());
}

Result<std::optional<std::optional<std::string>>> Fields::nullable_text(const char* name) {
  using Outer = std::optional<std::optional<std::string>>;
  const json* value = take(name);
  if (value == nullptr) return Outer();
  if (value->is_null()) return Outer(std::optional<std::string>());
  if (!value->is_string()) return wrong_type(name, "a string or null");
  return Outer(std::optional<std::string>(value->get<std::string>()));
}

Result<std::optional<i64>> Fields::integer(const char* name) {
  const json* value = take(name);
  if (value == nullptr) return std::optional<i64>();
  bool fits = value->is_number_integer() &&
              !(value->is_number_unsigned() && value->get<u64>() > static_cast<u64>(INT64_MAX));
  if (!fits) return wrong_type(name, "an integer");
  return std::optional<i64>(value->get<i64>());
}

Result<std::optional<bool>> Fields::boolean(const char* name) {
  const json* value = take(name);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return wrong_type(name, "true or false");
  return std::optional<bool>(value->get<bool>());
}

Result<std::optional<std::vector<std::string>>> Fields::texts(const char* name) {
  const json* value = take(name);
  if (value == nullptr) return std::optional<std::vector<std::string>>();
  bool fits = value->is_array() && std::all_of(value->begin(), value->end(),
                                               [](const json& item) { return item.is_string(); });
  if (!fits) return wrong_type(name, "an array of strings");
  return std::optional<std::vector<std::string>>(value->get<std::vector<std::string>>());
}

const json* Fields::object(const char* name) {
  return take(name);
}

Status Fields::finish() const {
  for (const auto& [name, value] : body_->items()) {
    if (std::find(taken_.begin(), taken_.end(), name) != taken_.end()) continue;
    return Error{Code::kInvalid, fmt::format("unknown field '{}'", name.substr(0, 100))};
  }
  return {};
}

Result<SubjectChange> read_change(Fields& fields, const RateLimits& base) {
  SubjectChange change;
  TG_ASSIGN(change.name, fields.text("name"));
  TG_ASSIGN(change.limits, read_limits(fields, base));
  TG_ASSIGN(change.models, fields.texts("models"));
  TG_ASSIGN(change.weight, fields.integer("weight"));
  TG_ASSIGN(change.account, fields.text("account"));
  TG_ASSIGN(change.is_suspended, fields.boolean("suspended"));
  TG_ASSIGN(change.scopes, read_scopes(fields));
  TG_ASSIGN(std::optional<std::string> service, fields.text("class"));
  if (service) {
    change.service = service_by_name(*service);
    if (!change.service) {
      return Error{Code::kInvalid, fmt::format("'{}' is no class; there are interactive, standard "
                                               "and batch",
                                               *service)};
    }
  }
  TG_ASSIGN(std::optional<std::optional<std::string>> expires, fields.nullable_text("expires"));
  if (expires) {
    change.expires.emplace();
    if (*expires) {
      TG_ASSIGN(Timestamp time, parse_time(**expires));
      change.expires->emplace(time);
    }
  }
  return change;
}

Policy policy_of(const SubjectChange& change, fleet::ServiceClass service) {
  return {.limits = change.limits.value_or(RateLimits{}),
          .models = change.models.value_or(ModelPatterns{}),
          .service = change.service.value_or(service),
          .weight = change.weight.value_or(1)};
}

json unit_json(const Unit& unit) {
  json out = {{"object", name(unit.level)},
              {"id", unit.id},
              {"name", unit.name},
              {"account", unit.account.empty() ? json(nullptr) : json(unit.account)},
              {"limits", limits_json(unit.policy.limits)},
              {"models", unit.policy.models},
              {"class", name(unit.policy.service)},
              {"weight", unit.policy.weight},
              {"created", to_rfc3339(unit.created)},
              {"suspended", time_or_null(unit.suspended)}};
  if (unit.level == Level::kTeam) out["organisation"] = unit.parent;
  if (unit.level == Level::kProject) out["team"] = unit.parent;
  return out;
}

json key_json(const KeyRecord& key) {
  json scopes = json::array();
  for (Scope scope : key.scopes.list()) scopes.push_back(name(scope));
  return {{"object", "key"},
          {"id", key.id},
          {"prefix", key.prefix},
          {"name", key.name},
          {"account", key.account_name},
          {"project", key.project},
          {"scopes", std::move(scopes)},
          {"limits", limits_json(key.policy.limits)},
          {"models", key.policy.models},
          {"class", name(key.policy.service)},
          {"created", to_rfc3339(key.created)},
          {"expires", time_or_null(key.expires)},
          {"revoked", time_or_null(key.revoked)}};
}

}  // namespace tg::gateway
