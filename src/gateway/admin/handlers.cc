#include "gateway/admin/handlers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "gateway/access/budget_keeper.h"
#include "gateway/admin/fields.h"

namespace tg::gateway {
namespace {

using nlohmann::json;

constexpr i64 kPageDefault = 100;
constexpr i64 kPageMax = 1'000;
constexpr i64 kReceiptPagesMax = 200;  // Of 500: what one usage summary reads at most.

ApiError from_error(const Error& error) {
  ApiError out{.message = error.message};
  switch (error.code) {
    case Code::kNotFound:
      out.status = 404;
      out.code = "not_found";
      return out;
    case Code::kExists:
      out.status = 409;
      out.code = "exists";
      out.is_final = true;
      return out;
    case Code::kInvalid:
    case Code::kLimit:
    case Code::kUnsupported: out.code = "invalid_value"; return out;
    case Code::kUnavailable:
      out.status = 503;
      out.type = "server_error";
      out.code = "unavailable";
      out.retry_after_s = 1;
      return out;
    default:
      out.status = 500;
      out.type = "server_error";
      out.code = "internal_error";
      return out;
  }
}

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) out.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return out;
}

// The arguments of `path` if it fits the pattern.
std::optional<std::vector<std::string>> fit(std::string_view pattern, std::string_view path) {
  std::vector<std::string_view> wanted = segments(pattern);
  std::vector<std::string_view> given = segments(path);
  if (wanted.size() != given.size()) return std::nullopt;
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].starts_with('{')) {
      arguments.push_back(percent_decoded(given[i]));
    } else if (wanted[i] != given[i]) {
      return std::nullopt;
    }
  }
  return arguments;
}

std::map<std::string, std::string> read_query(std::string_view text) {
  std::map<std::string, std::string> query;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('&'), text.size());
    std::string_view pair = text.substr(0, end);
    std::size_t equals = std::min(pair.find('='), pair.size());
    query[percent_decoded(pair.substr(0, equals))] =
        percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return query;
}

json list_json(json data) {
  return {{"object", "list"}, {"data", std::move(data)}};
}

Error missing(const char* field) {
  return {Code::kInvalid, fmt::format("'{}' is missing", field)};
}

// One page of what has been listed, oldest first, after the one whose id is `after`.
template <typename T>
Result<json> page(const AdminHandlers::Call& call, const std::vector<T>& all,
                  json (*show)(const T& item)) {
  i64 limit = kPageDefault;
  std::string after;
  for (const auto& [name, value] : call.query) {
    if (name == "after") after = value;
    if (name != "limit") continue;
    auto end = std::from_chars(value.data(), value.data() + value.size(), limit);
    bool fits = end.ec == std::errc() && end.ptr == value.data() + value.size() && limit >= 1 &&
                limit <= kPageMax;
    if (!fits) return Error{Code::kInvalid, "'limit' must be a number within 1..1000"};
  }
  auto at = all.begin();
  if (!after.empty()) {
    at = std::find_if(all.begin(), all.end(), [&](const T& item) { return item.id == after; });
    if (at == all.end()) return Error{Code::kNotFound, "nothing has the id '" + after + "'"};
    ++at;
  }
  json data = json::array();
  for (; at != all.end() && static_cast<i64>(data.size()) < limit; ++at) data.push_back(show(*at));
  json out = list_json(std::move(data));
  out["has_more"] = at != all.end();
  return out;
}

Level above(Level level) {
  return static_cast<Level>(static_cast<u8>(level) - 1);
}

}  // namespace

ApiResult<HttpResponse> AdminHandlers::answer(const AdminRequest& request,
                                              const GatewayReport& report) {
  std::string_view target = request.target;
  std::size_t mark = std::min(target.find('?'), target.size());
  std::string_view path = target.substr(0, mark);
  std::string allow;
  for (const Operation& operation : operations()) {
    std::optional<std::vector<std::string>> arguments = fit(operation.path, path);
    if (!arguments) continue;
    allow += (allow.empty() ? "" : ", ") + operation.method;
    if (operation.method != request.method) continue;
    Call call{.arguments = std::move(*arguments),
              .query = read_query(target.substr(std::min(mark + 1, target.size()))),
              .level = operation.level,
              .report = &report};
    if (!operation.body.empty()) {
      call.body = json::parse(request.body, nullptr, false);
      if (call.body.is_discarded()) return from_error({Code::kInvalid, "the body is no JSON"});
    }
    Result<json> result = (this->*operation.handler)(call);
    if (!result.ok()) return from_error(result.error());
    HttpResponse response{.status = operation.status};
    response.body = result->dump(-1, ' ', false, json::error_handler_t::replace);
    return response;
  }
  if (allow.empty()) return from_error({Code::kNotFound, "no such path: " + std::string(path)});
  return ApiError{.status = 405,
                  .message = "method " + request.method + " is not allowed here; allowed: " + allow,
                  .code = "method_not_allowed",
                  .allow = allow};
}

// ---- units --------------------------------------------------------------------------------------

Result<json> AdminHandlers::list_units(const Call& call) {
  TG_ASSIGN(std::vector<Unit> all, store_->units(call.level));
  auto parent = call.query.find(call.level == Level::kTeam ? "organisation" : "team");
  if (call.level != Level::kOrganisation && parent != call.query.end()) {
    TG_ASSIGN(Unit wanted, store_->find_unit(above(call.level), parent->second));
    std::erase_if(all, [&](const Unit& unit) { return unit.parent != wanted.id; });
  }
  return page<Unit>(call, all, unit_json);
}

Result<json> AdminHandlers::create_unit(const Call& call) {
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  NewUnit unit{.level = call.level};
  if (call.level != Level::kOrganisation) {
    const char* field = call.level == Level::kTeam ? "organisation" : "team";
    TG_ASSIGN(std::optional<std::string> parent, fields.text(field));
    if (!parent) return missing(field);
    unit.parent = std::move(*parent);
  }
  TG_ASSIGN(SubjectChange given, read_change(fields, {}));
  TG_TRY(fields.finish());
  if (!given.name) return missing("name");
  if (given.scopes || given.expires || given.is_suspended) {
    return Error{Code::kInvalid, "'scopes', 'expires' and 'suspended' cannot be set here"};
  }
  unit.name = *given.name;
  unit.policy = policy_of(given, fleet::ServiceClass::kInteractive);
  // An organisation pays for what is below it unless something there says otherwise.
  bool pays = call.level == Level::kOrganisation;
  unit.account = given.account.value_or(pays ? unit.name : std::string());
  TG_ASSIGN(Unit made, store_->create_unit(unit, clock_.now()));
  TG_TRY(ensure_in_ledger(made.account));
  return unit_json(made);
}

Result<json> AdminHandlers::get_unit(const Call& call) {
  TG_ASSIGN(Unit unit, store_->find_unit(call.level, call.arguments[0]));
  return unit_json(unit);
}

Result<json> AdminHandlers::update_unit(const Call& call) {
  TG_ASSIGN(Unit unit, store_->find_unit(call.level, call.arguments[0]));
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(SubjectChange change, read_change(fields, unit.policy.limits));
  TG_TRY(fields.finish());
  TG_ASSIGN(Unit changed, store_->update_unit(call.level, unit.id, change, clock_.now()));
  TG_TRY(ensure_in_ledger(changed.account));
  return unit_json(changed);
}

// ---- keys ---------------------------------------------------------------------------------------

Result<json> AdminHandlers::list_keys(const Call& call) {
  TG_ASSIGN(std::vector<KeyRecord> all, store_->list());
  auto project = call.query.find("project");
  if (project != call.query.end()) {
    TG_ASSIGN(Unit wanted, store_->find_unit(Level::kProject, project->second));
    std::erase_if(all, [&](const KeyRecord& key) { return key.project != wanted.id; });
  }
  return page<KeyRecord>(call, all, key_json);
}

Result<json> AdminHandlers::create_key(const Call& call) {
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(std::optional<std::string> project, fields.text("project"));
  TG_ASSIGN(SubjectChange given, read_change(fields, {}));
  TG_TRY(fields.finish());
  if (!given.name) return missing("name");
  if (given.weight || given.is_suspended) {
    return Error{Code::kInvalid, "a key has no weight and is revoked, not suspended"};
  }
  if (!project && !given.account) return missing("project");
  NewKey key{.name = *given.name,
             .account = given.account.value_or(""),
             .project = project.value_or(""),
             .policy = policy_of(given, fleet::ServiceClass::kStandard)};
  if (given.scopes) key.scopes = *given.scopes;
  if (given.expires) key.expires = *given.expires;
  TG_ASSIGN(CreatedKey made, store_->create(key, clock_.now()));
  TG_TRY(ensure_in_ledger(made.info.account_name));
  json out = key_json(made.info);
  out["key"] = made.plaintext;
  return out;
}

Result<json> AdminHandlers::get_key(const Call& call) {
  TG_ASSIGN(KeyRecord key, store_->find(call.arguments[0]));
  return key_json(key);
}

Result<json> AdminHandlers::update_key(const Call& call) {
  TG_ASSIGN(KeyRecord key, store_->find(call.arguments[0]));
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(SubjectChange change, read_change(fields, key.policy.limits));
  TG_TRY(fields.finish());
  if (change.account || change.weight || change.is_suspended) {
    return Error{Code::kInvalid, "'account', 'weight' and 'suspended' of a key cannot be changed"};
  }
  TG_ASSIGN(KeyRecord changed, store_->update(key.id, change));
  return key_json(changed);
}

Result<json> AdminHandlers::revoke_key(const Call& call) {
  TG_ASSIGN(KeyRecord key, store_->find(call.arguments[0]));
  TG_TRY(store_->revoke(key.id, clock_.now()));
  TG_ASSIGN(KeyRecord revoked, store_->find(key.id));
  return key_json(revoked);
}

Result<json> AdminHandlers::rotate_key(const Call& call) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(std::optional<i64> grace, fields.integer("grace_seconds"));
  TG_TRY(fields.finish());
  i64 seconds = grace.value_or(86'400);
  if (seconds < 0 || seconds > KeyStore::kGraceNsMax / kNsPerSecond) {
    return Error{Code::kInvalid, "'grace_seconds' must be within a year"};
  }
  TG_ASSIGN(CreatedKey made,
            store_->rotate(call.arguments[0], seconds * kNsPerSecond, clock_.now()));
  json out = key_json(made.info);
  out["key"] = made.plaintext;
  return out;
}

// ---- budgets ------------------------------------------------------------------------------------

Result<std::string> AdminHandlers::subject_id(const Call& call) {
  if (call.level == Level::kKey) {
    TG_ASSIGN(KeyRecord key, store_->find(call.arguments[0]));
    return std::move(key.id);
  }
  TG_ASSIGN(Unit unit, store_->find_unit(call.level, call.arguments[0]));
  return std::move(unit.id);
}

// What its period's accounts say, of all generations.
Result<json> AdminHandlers::budget_json(const Budget& budget) {
  PeriodSpan span = period_at(budget.period, clock_.now());
  i64 spent = 0;
  i64 held = 0;
  for (i64 generation = 0; generation <= budget.generation; ++generation) {
    Result<json> shown = ask("show " + to_hex(budget_account(budget, span.number, generation)));
    // Not used yet in this period.
    if (!shown.ok()) continue;
    spent += shown->at("spent_nst").get<i64>();
    held += shown->at("held_nst").get<i64>();
  }
  return json::object({{"object", "budget"},
                       {"id", budget.id},
                       {"period", name(budget.period)},
                       {"amount_nst", budget.amount_nst},
                       {"spent_nst", spent},
                       {"held_nst", held},
                       {"remaining_nst", std::max<i64>(0, budget.amount_nst - spent - held)},
                       {"period_begins", span.ends ? json(to_rfc3339(span.begins)) : json(nullptr)},
                       {"period_ends", span.ends ? json(to_rfc3339(*span.ends)) : json(nullptr)}});
}

Result<json> AdminHandlers::list_budgets(const Call& call) {
  TG_ASSIGN(std::string subject, subject_id(call));
  TG_ASSIGN(std::vector<Budget> all, store_->budgets(subject));
  json data = json::array();
  for (const Budget& budget : all) {
    TG_ASSIGN(json one, budget_json(budget));
    data.push_back(std::move(one));
  }
  return list_json(std::move(data));
}

static Result<BudgetPeriod> read_period(const std::string& text) {
  std::optional<BudgetPeriod> period = period_by_name(text);
  if (period) return *period;
  return Error{Code::kInvalid,
               "'" + text.substr(0, 40) + "' is no period; there are total, day, week and month"};
}

Result<json> AdminHandlers::set_budget(const Call& call) {
  TG_ASSIGN(std::string subject, subject_id(call));
  TG_ASSIGN(BudgetPeriod period, read_period(call.arguments[1]));
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(std::optional<i64> amount, fields.integer("amount_nst"));
  TG_TRY(fields.finish());
  if (!amount) return missing("amount_nst");
  TG_ASSIGN(Budget budget, store_->set_budget(subject, period, *amount));
  return budget_json(budget);
}

Result<json> AdminHandlers::remove_budget(const Call& call) {
  TG_ASSIGN(std::string subject, subject_id(call));
  TG_ASSIGN(BudgetPeriod period, read_period(call.arguments[1]));
  TG_TRY(store_->remove_budget(subject, period));
  return json::object({{"object", "budget"}, {"period", name(period)}, {"deleted", true}});
}

// ---- accounts and usage -------------------------------------------------------------------------

Result<json> AdminHandlers::ask(const std::string& command) {
  TG_ASSIGN(std::string line, desk_.ask(command));
  json answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return Error{Code::kCorrupt, "the books gave no JSON object"};
  auto error = answer.find("error");
  if (error == answer.end()) return answer;
  return Error{Code::kInvalid, error->is_string() ? error->get<std::string>() : "the books failed"};
}

Status AdminHandlers::ensure_in_ledger(const std::string& account) {
  if (account.empty()) return {};
  TG_ASSIGN(AccountName known, store_->ensure_account(account));
  TG_ASSIGN([[maybe_unused]] json made, ask("ensure " + to_hex(known.id)));
  return {};
}

Result<json> AdminHandlers::account_json(const AccountName& account) {
  json out = {{"object", "account"}, {"name", account.name}, {"id", to_hex(account.id)}};
  Result<json> shown = ask("show " + to_hex(account.id));
  for (const char* field : {"balance_nst", "held_nst", "spent_nst", "granted_nst"}) {
    out[field] = shown.ok() ? shown->at(field) : json(0);
  }
  // Of gateways that lease.
  for (const char* field : {"leased_nst", "settled_at"}) {
    if (shown.ok() && shown->contains(field)) out[field] = shown->at(field);
  }
  return out;
}

Result<AccountName> AdminHandlers::account_by_name(const std::string& name) {
  TG_ASSIGN(std::vector<AccountName> all, store_->accounts());
  for (AccountName& account : all) {
    if (account.name == name || to_hex(account.id) == name) return std::move(account);
  }
  return Error{Code::kNotFound, "no account named '" + name.substr(0, 100) + "'"};
}

Result<json> AdminHandlers::list_accounts(const Call&) {
  TG_ASSIGN(std::vector<AccountName> all, store_->accounts());
  json data = json::array();
  for (const AccountName& account : all) {
    TG_ASSIGN(json one, account_json(account));
    data.push_back(std::move(one));
  }
  return list_json(std::move(data));
}

Result<json> AdminHandlers::create_account(const Call& call) {
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(std::optional<std::string> name, fields.text("name"));
  TG_TRY(fields.finish());
  if (!name) return missing("name");
  TG_ASSIGN(AccountName account, store_->ensure_account(*name));
  TG_TRY(ensure_in_ledger(account.name));
  return account_json(account);
}

Result<json> AdminHandlers::get_account(const Call& call) {
  TG_ASSIGN(AccountName account, account_by_name(call.arguments[0]));
  return account_json(account);
}

Result<json> AdminHandlers::top_up(const Call& call) {
  TG_ASSIGN(AccountName account, account_by_name(call.arguments[0]));
  TG_ASSIGN(Fields fields, Fields::of(call.body));
  TG_ASSIGN(std::optional<i64> amount, fields.integer("amount_nst"));
  TG_TRY(fields.finish());
  if (!amount) return missing("amount_nst");
  if (*amount <= 0) return Error{Code::kInvalid, "'amount_nst' must be above 0"};
  TG_ASSIGN([[maybe_unused]] json done,
            ask(fmt::format("topup {} {}", to_hex(account.id), *amount)));
  return account_json(account);
}

// Of all receipts, by model.
Result<json> AdminHandlers::usage(const Call&) {
  constexpr const char* kSums[] = {"prompt_tokens", "cached_tokens", "output_tokens", "nominal_nst",
                                   "billed"};
  std::map<std::string, json> models;
  u64 after = 0;
  bool is_complete = false;
  for (i64 pages = 0; pages < kReceiptPagesMax && !is_complete; ++pages) {
    TG_ASSIGN(json answer, ask(fmt::format("receipts {}", after)));
    for (const json& receipt : answer.at("receipts")) {
      std::string model = receipt.at("model").get<std::string>();
      json& sums = models[model];
      if (sums.is_null()) sums = {{"model", model}, {"requests", 0}, {"outcomes", json::object()}};
      sums["requests"] = sums["requests"].get<i64>() + 1;
      json& outcome = sums["outcomes"][receipt.at("outcome").get<std::string>()];
      outcome = (outcome.is_null() ? 0 : outcome.get<i64>()) + 1;
      for (const char* field : kSums) {
        json& sum = sums[field];
        sum = (sum.is_null() ? 0 : sum.get<i64>()) + receipt.at(field).get<i64>();
      }
    }
    is_complete = answer.at("receipts").empty();
    after = answer.at("last").get<u64>();
  }
  json data = json::array();
  for (auto& [model, sums] : models) {
    sums["billed_nst"] = sums["billed"];
    sums.erase("billed");
    data.push_back(std::move(sums));
  }
  return json::object(
      {{"object", "usage"}, {"is_complete", is_complete}, {"models", std::move(data)}});
}

Result<json> AdminHandlers::models(const Call& call) {
  return json::parse(call.report->models);
}

Result<json> AdminHandlers::health(const Call& call) {
  return json::parse(call.report->health);
}

Result<json> AdminHandlers::autoscale(const Call& call) {
  if (call.report->autoscale.empty())
    return Error{Code::kNotFound, "no [autoscale] is configured in a running server"};
  return json::parse(call.report->autoscale);
}

}  // namespace tg::gateway
