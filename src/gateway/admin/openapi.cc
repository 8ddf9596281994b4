#include "gateway/admin/openapi.h"

#include <nlohmann/json.hpp>

#include "base/assert.h"
#include "gateway/admin/handlers.h"

namespace tg::gateway {
namespace {

using nlohmann::ordered_json;

// What bodies and replies consist of. Update* is Create* with nothing required.
constexpr const char* kSchemas = R"json({"Limits": {"type": "object", "additionalProperties": false,
  "description": "Of a sliding minute, and at once. 0: no limit.",
  "properties": {"requests_per_minute": {"type": "integer", "minimum": 0},
   "tokens_per_minute": {"type": "integer", "minimum": 0},
   "nst_per_minute": {"type": "integer", "minimum": 0, "description": "Nominal work, 10^-9 ST."},
   "concurrent": {"type": "integer", "minimum": 0}}},
 "AllLimits": {"allOf": [{"$ref": "#/components/schemas/Limits"}],
  "required": ["requests_per_minute", "tokens_per_minute", "nst_per_minute", "concurrent"]},
 "Models": {"type": "array", "maxItems": 64, "items": {"type": "string", "minLength": 1},
  "description": "Names that are allowed; * stands for any characters. Empty: all."},
 "Class": {"type": "string", "enum": ["interactive", "standard", "batch"]},
 "Scopes": {"type": "array",
  "items": {"type": "string", "enum": ["inference", "usage:read", "admin:read", "admin"]}},
 "Name": {"type": "string", "minLength": 1, "maxLength": 128},
 "Time": {"type": "string", "format": "date-time"},
 "Period": {"type": "string", "enum": ["total", "day", "week", "month"]},
 "Error": {"type": "object", "required": ["error"], "additionalProperties": false,
  "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"],
    "additionalProperties": false,
    "properties": {"message": {"type": "string"}, "type": {"type": "string"},
     "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}}}},
 "Organisation": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "name", "account", "limits", "models", "class", "weight", "created",
   "suspended"],
  "properties": {"object": {"const": "organisation"},
   "id": {"type": "string", "pattern": "^org_[0-9a-f]{16}$"},
   "name": {"$ref": "#/components/schemas/Name"}, "account": {"type": ["string", "null"]},
   "limits": {"$ref": "#/components/schemas/AllLimits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000},
   "created": {"$ref": "#/components/schemas/Time"},
   "suspended": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]}}},
 "Team": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "organisation", "name", "limits", "models", "class", "created",
   "suspended"],
  "properties": {"object": {"const": "team"}, "id": {"type": "string", "pattern":
    "^team_[0-9a-f]{16}$"},
   "organisation": {"type": "string"}, "name": {"$ref": "#/components/schemas/Name"},
   "account": {"type": ["string", "null"]},
   "limits": {"$ref": "#/components/schemas/AllLimits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"}, "weight": {"type": "integer"},
   "created": {"$ref": "#/components/schemas/Time"},
   "suspended": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]}}},
 "Project": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "team", "name", "account", "limits", "models", "class", "weight",
   "created", "suspended"],
  "properties": {"object": {"const": "project"},
   "id": {"type": "string", "pattern": "^proj_[0-9a-f]{16}$"}, "team": {"type": "string"},
   "name": {"$ref": "#/components/schemas/Name"}, "account": {"type": ["string", "null"]},
   "limits": {"$ref": "#/components/schemas/AllLimits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000},
   "created": {"$ref": "#/components/schemas/Time"},
   "suspended": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]}}},
 "CreateOrganisation": {"type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {"name": {"$ref": "#/components/schemas/Name"},
   "account": {"type": "string",
    "description": "Who pays for what is below; made if need be. Its name by default."},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000}}},
 "CreateTeam": {"type": "object", "additionalProperties": false, "required": ["organisation",
   "name"],
  "properties": {"organisation": {"type": "string", "description": "Id or name."},
   "name": {"$ref": "#/components/schemas/Name"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"}}},
 "CreateProject": {"type": "object", "additionalProperties": false, "required": ["team", "name"],
  "properties": {"team": {"type": "string", "description": "Id, name, or organisation/name."},
   "name": {"$ref": "#/components/schemas/Name"},
   "account": {"type": "string", "description": "Who pays instead of the organisation's."},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000}}},
 "UpdateOrganisation": {"type": "object", "additionalProperties": false,
  "properties": {"name": {"$ref": "#/components/schemas/Name"}, "account": {"type": "string"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000},
   "suspended": {"type": "boolean"}}},
 "UpdateTeam": {"type": "object", "additionalProperties": false,
  "properties": {"name": {"$ref": "#/components/schemas/Name"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"}, "suspended": {"type": "boolean"}}},
 "UpdateProject": {"type": "object", "additionalProperties": false,
  "properties": {"name": {"$ref": "#/components/schemas/Name"}, "account": {"type": "string"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "weight": {"type": "integer", "minimum": 1, "maximum": 1000},
   "suspended": {"type": "boolean"}}},
 "Key": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "prefix", "name", "account", "project", "scopes", "limits", "models",
   "class", "created", "expires", "revoked"],
  "properties": {"object": {"const": "key"}, "id": {"type": "string", "pattern":
    "^key_[0-9a-f]{16}$"},
   "prefix": {"type": "string"}, "name": {"$ref": "#/components/schemas/Name"},
   "account": {"type": "string"}, "project": {"type": "string"},
   "scopes": {"$ref": "#/components/schemas/Scopes"},
   "limits": {"$ref": "#/components/schemas/AllLimits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "created": {"$ref": "#/components/schemas/Time"},
   "expires": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]},
   "revoked": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]}}},
 "CreatedKey": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "prefix", "name", "account", "project", "scopes", "limits", "models",
   "class", "created", "expires", "revoked", "key"],
  "properties": {"object": {"const": "key"}, "id": {"type": "string"}, "prefix": {"type": "string"},
   "name": {"type": "string"}, "account": {"type": "string"}, "project": {"type": "string"},
   "scopes": {"$ref": "#/components/schemas/Scopes"},
   "limits": {"$ref": "#/components/schemas/AllLimits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"},
   "created": {"$ref": "#/components/schemas/Time"},
   "expires": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]},
   "revoked": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]},
   "key": {"type": "string", "pattern": "^tg-[0-9a-f]{64}$", "description": "Shown this once."}}},
 "CreateKey": {"type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {"name": {"$ref": "#/components/schemas/Name"},
   "project": {"type": "string",
    "description": "Id or name; without one, the default project of the account."},
   "account": {"type": "string", "description":
     "Who pays instead of the project's or organisation's."},
   "scopes": {"$ref": "#/components/schemas/Scopes"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"}, "expires": {"type": ["string", "null"]}}},
 "UpdateKey": {"type": "object", "additionalProperties": false,
  "properties": {"name": {"$ref": "#/components/schemas/Name"},
   "scopes": {"$ref": "#/components/schemas/Scopes"},
   "limits": {"$ref": "#/components/schemas/Limits"},
   "models": {"$ref": "#/components/schemas/Models"},
   "class": {"$ref": "#/components/schemas/Class"}, "expires": {"type": ["string", "null"]}}},
 "RotateKey": {"type": "object", "additionalProperties": false,
  "properties": {"grace_seconds": {"type": "integer", "minimum": 0, "default": 86400}}},
 "Budget": {"type": "object", "additionalProperties": false,
  "required": ["object", "id", "period", "amount_nst", "spent_nst", "held_nst", "remaining_nst",
   "period_begins", "period_ends"],
  "properties": {"object": {"const": "budget"}, "id": {"type": "string"},
   "period": {"$ref": "#/components/schemas/Period"}, "amount_nst": {"type": "integer"},
   "spent_nst": {"type": "integer"}, "held_nst": {"type": "integer"},
   "remaining_nst": {"type": "integer"},
   "period_begins": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]},
   "period_ends": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]}}},
 "SetBudget": {"type": "object", "additionalProperties": false, "required": ["amount_nst"],
  "properties": {"amount_nst": {"type": "integer", "minimum": 0, "description": "10^-9 ST."}}},
 "BudgetDeleted": {"type": "object", "additionalProperties": false,
  "required": ["object", "period", "deleted"],
  "properties": {"object": {"const": "budget"}, "period": {"$ref": "#/components/schemas/Period"},
   "deleted": {"const": true}}},
 "Account": {"type": "object", "additionalProperties": false,
  "required": ["object", "name", "id", "balance_nst", "held_nst", "spent_nst", "granted_nst"],
  "properties": {"object": {"const": "account"}, "name": {"type": "string"},
   "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "balance_nst": {"type": "integer"},
   "held_nst": {"type": "integer"}, "spent_nst": {"type": "integer"},
   "granted_nst": {"type": "integer"},
   "leased_nst": {"type": "integer",
    "description": "Of what is held: leased by gateways that spend from it without asking."},
   "settled_at": {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}],
    "description": "What those gateways spent since is not in the balances yet."}}},
 "CreateAccount": {"type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {"name": {"$ref": "#/components/schemas/Name"}}},
 "TopUp": {"type": "object", "additionalProperties": false, "required": ["amount_nst"],
  "properties": {"amount_nst": {"type": "integer", "minimum": 1}}},
 "Usage": {"type": "object", "additionalProperties": false,
  "required": ["object", "is_complete", "models"],
  "properties": {"object": {"const": "usage"},
   "is_complete": {"type": "boolean",
    "description": "False if there are more receipts than one answer reads."},
   "models": {"type": "array",
    "items": {"type": "object",
     "required": ["model", "requests", "outcomes", "prompt_tokens", "cached_tokens",
       "output_tokens",
      "nominal_nst", "billed_nst"],
     "additionalProperties": {"type": "integer"},
     "properties": {"model": {"type": "string"},
      "outcomes": {"type": "object", "additionalProperties": {"type": "integer"}}}}}}},
 "ModelList": {"type": "object", "required": ["object", "data"],
  "properties": {"object": {"const": "list"},
   "data": {"type": "array",
    "items": {"type": "object", "required": ["id", "object"],
     "properties": {"id": {"type": "string"}, "object": {"const": "model"}}}}}},
 "Health": {"type": "object", "required": ["status"],
  "properties": {"status": {"type": "string", "enum": ["ok", "draining", "stopped"]}}},
 "Autoscale": {"type": "object", "required": ["object", "pool", "desired_replicas",
   "ready_replicas", "starting_replicas", "warm_replicas", "draining_replicas", "reason",
   "cold_start_seconds", "replicas"],
  "properties": {"object": {"const": "autoscale"}, "pool": {"type": "string"},
   "desired_replicas": {"type": "integer", "minimum": 0},
   "ready_replicas": {"type": "integer", "minimum": 0},
   "starting_replicas": {"type": "integer", "minimum": 0},
   "warm_replicas": {"type": "integer", "minimum": 0},
   "draining_replicas": {"type": "integer", "minimum": 0},
   "reason": {"type": "string"}, "cold_start_seconds": {"type": "number"},
   "replicas": {"type": "array", "items": {"type": "object",
     "required": ["name", "state", "last_error"],
     "properties": {"name": {"type": "string"}, "last_error": {"type": "string"},
      "state": {"type": "string",
       "enum": ["off", "starting", "warm", "ready", "draining", "ending"]}}}}}}})json";

constexpr const char* kLists[] = {"Organisation", "Team", "Project", "Key"};

ordered_json reference(const std::string& schema) {
  return {{"$ref", "#/components/schemas/" + schema}};
}

ordered_json content(const std::string& schema) {
  return {{"application/json", {{"schema", reference(schema)}}}};
}

ordered_json list_schema(const char* of, bool has_pages) {
  ordered_json out = {{"type", "object"}, {"required", {"object", "data"}}};
  out["properties"]["object"]["const"] = "list";
  out["properties"]["data"]["type"] = "array";
  out["properties"]["data"]["items"] = reference(of);
  if (has_pages) out["properties"]["has_more"]["type"] = "boolean";
  return out;
}

// One entry per {name} in the path and per query parameter.
ordered_json parameters(const AdminHandlers::Operation& operation) {
  ordered_json out = ordered_json::array();
  std::string_view rest = operation.path;
  for (std::size_t at = rest.find('{'); at != std::string_view::npos; at = rest.find('{')) {
    std::size_t end = rest.find('}', at);
    out.push_back({{"name", rest.substr(at + 1, end - at - 1)},
                   {"in", "path"},
                   {"required", true},
                   {"schema", {{"type", "string"}}}});
    rest.remove_prefix(end);
  }
  for (const std::string& name : operation.query) {
    out.push_back({{"name", name},
                   {"in", "query"},
                   {"required", false},
                   {"schema", {{"type", name == "limit" ? "integer" : "string"}}}});
  }
  return out;
}

ordered_json operation_json(const AdminHandlers::Operation& operation) {
  ordered_json out = {{"operationId", operation.id}, {"summary", operation.summary}};
  ordered_json given = parameters(operation);
  if (!given.empty()) out["parameters"] = std::move(given);
  if (!operation.body.empty()) {
    out["requestBody"] = {{"required", true}, {"content", content(operation.body)}};
  }
  ordered_json& responses = out["responses"];
  responses[std::to_string(operation.status)] = {{"description", operation.summary},
                                                 {"content", content(operation.reply)}};
  responses["default"] = {{"description", "What went wrong"}, {"content", content("Error")}};
  return out;
}

std::string make_document() {
  ordered_json schemas = ordered_json::parse(kSchemas, nullptr, false);
  TG_ASSERT(schemas.is_object());
  for (const char* of : kLists) schemas[std::string(of) + "List"] = list_schema(of, true);
  for (const char* of : {"Budget", "Account"}) {
    schemas[std::string(of) + "List"] = list_schema(of, false);
  }
  ordered_json document;
  document["openapi"] = "3.1.0";
  document["info"] = {{"title", "Tokengrid admin API"},
                      {"version", "1"},
                      {"description",
                       "Organisations, teams, projects, keys, limits, budgets and "
                       "accounts. Amounts are whole nano-ST (10^-9 ST)."}};
  for (const AdminHandlers::Operation& operation : AdminHandlers::operations()) {
    std::string method = operation.method;
    for (char& c : method) c = static_cast<char>(c | 0x20);
    document["paths"][operation.path][method] = operation_json(operation);
    TG_ASSERT(schemas.contains(operation.reply));
    TG_ASSERT(operation.body.empty() || schemas.contains(operation.body));
  }
  document["components"]["securitySchemes"]["key"] = {
      {"type", "http"},
      {"scheme", "bearer"},
      {"description", "A key with the scope admin; admin:read is enough for GET."}};
  document["components"]["schemas"] = std::move(schemas);
  document["security"] = ordered_json::array({{{"key", ordered_json::array()}}});
  return document.dump(1);
}

}  // namespace

const std::string& admin_openapi() {
  static const std::string document = make_document();
  return document;
}

}  // namespace tg::gateway
