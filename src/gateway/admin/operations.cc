// The one table of what the admin API does; it is served and documented from here.
#include "gateway/admin/handlers.h"

namespace tg::gateway {
namespace {

using Operation = AdminHandlers::Operation;

struct UnitNames {
  Level level;
  const char* plural;    // In paths.
  const char* singular;  // In operation ids and as the path's parameter.
  const char* schema;
  const char* parent;  // The list's filter; null for none.
};
constexpr UnitNames kUnits[] = {
    {Level::kOrganisation, "organisations", "organisation", "Organisation", nullptr},
    {Level::kTeam, "teams", "team", "Team", "organisation"},
    {Level::kProject, "projects", "project", "Project", "team"}};

std::string join(std::string_view a, std::string_view b, std::string_view c = "",
                 std::string_view d = "") {
  std::string out(a);
  return out.append(b).append(c).append(d);
}

}  // namespace

// Members of the class so that they may name its handlers.
static std::vector<Operation> make_budget_operations(
    const std::string& base, std::string_view singular, Level level,
    Result<AdminHandlers::Json> (AdminHandlers::*list)(const AdminHandlers::Call&),
    Result<AdminHandlers::Json> (AdminHandlers::*set)(const AdminHandlers::Call&),
    Result<AdminHandlers::Json> (AdminHandlers::*remove)(const AdminHandlers::Call&)) {
  std::string one = base + "/budgets/{period}";
  return {{"GET", base + "/budgets", join("list_", singular, "_budgets"),
           join("Budgets of this ", singular, " and what their periods have left"), "",
           "BudgetList", 200, level, list},
          {"PUT", one, join("set_", singular, "_budget"),
           "Sets the amount of a period (total, day, week or month), from now on", "SetBudget",
           "Budget", 200, level, set},
          {"DELETE", one, join("remove_", singular, "_budget"), "Ends a budget", "",
           "BudgetDeleted", 200, level, remove}};
}

const std::vector<Operation>& AdminHandlers::operations() {
  static const std::vector<Operation> all = [] {
    std::string root(kAdminPrefix);
    std::vector<Operation> out;
    auto add_budgets = [&](const std::string& base, std::string_view singular, Level level) {
      for (Operation& each :
           make_budget_operations(base, singular, level, &AdminHandlers::list_budgets,
                                  &AdminHandlers::set_budget, &AdminHandlers::remove_budget)) {
        out.push_back(std::move(each));
      }
    };
    for (const UnitNames& unit : kUnits) {
      std::string list = root + "/" + unit.plural;
      std::string one = list + "/{" + unit.singular + "}";
      std::string schema = unit.schema;
      std::vector<std::string> query = {"limit", "after"};
      if (unit.parent != nullptr) query.emplace_back(unit.parent);
      out.push_back({"GET", list, join("list_", unit.plural),
                     join("All ", unit.plural, ", oldest first"), "", schema + "List", 200,
                     unit.level, &AdminHandlers::list_units, query});
      out.push_back({"POST", list, join("create_", unit.singular),
                     join("Makes one ", unit.singular), "Create" + schema, schema, 201, unit.level,
                     &AdminHandlers::create_unit});
      out.push_back({"GET", one, join("get_", unit.singular),
                     "By id, or by name if it is the only one", "", schema, 200, unit.level,
                     &AdminHandlers::get_unit});
      out.push_back({"PATCH", one, join("update_", unit.singular),
                     "Changes what is named; limits apply to the next request", "Update" + schema,
                     schema, 200, unit.level, &AdminHandlers::update_unit});
      add_budgets(one, unit.singular, unit.level);
    }
    std::string keys = root + "/keys";
    std::string key = keys + "/{key}";
    out.push_back({"GET",
                   keys,
                   "list_keys",
                   "All keys, without their secrets",
                   "",
                   "KeyList",
                   200,
                   Level::kKey,
                   &AdminHandlers::list_keys,
                   {"limit", "after", "project"}});
    out.push_back({"POST", keys, "create_key", "Makes a key; its secret is shown this once",
                   "CreateKey", "CreatedKey", 201, Level::kKey, &AdminHandlers::create_key});
    out.push_back({"GET", key, "get_key", "By id or prefix", "", "Key", 200, Level::kKey,
                   &AdminHandlers::get_key});
    out.push_back({"PATCH", key, "update_key", "Changes what is named", "UpdateKey", "Key", 200,
                   Level::kKey, &AdminHandlers::update_key});
    out.push_back({"DELETE", key, "revoke_key", "Ends a key, within a second", "", "Key", 200,
                   Level::kKey, &AdminHandlers::revoke_key});
    out.push_back({"POST", key + "/rotate", "rotate_key",
                   "A new secret for the same key; the old one stays valid for a grace time",
                   "RotateKey", "CreatedKey", 200, Level::kKey, &AdminHandlers::rotate_key});
    add_budgets(key, "key", Level::kKey);
    std::string accounts = root + "/accounts";
    out.push_back({"GET", accounts, "list_accounts", "Who pays, with balances", "", "AccountList",
                   200, Level::kKey, &AdminHandlers::list_accounts});
    out.push_back({"POST", accounts, "create_account", "Makes an account if it is not there",
                   "CreateAccount", "Account", 201, Level::kKey, &AdminHandlers::create_account});
    out.push_back({"GET", accounts + "/{account}", "get_account", "By name or id", "", "Account",
                   200, Level::kKey, &AdminHandlers::get_account});
    out.push_back({"POST", accounts + "/{account}/top-ups", "top_up",
                   "Adds standard tokens to an account", "TopUp", "Account", 201, Level::kKey,
                   &AdminHandlers::top_up});
    out.push_back({"GET", root + "/usage", "usage", "Sums over all receipts, by model", "", "Usage",
                   200, Level::kKey, &AdminHandlers::usage});
    out.push_back({"GET", root + "/models", "models", "Models served", "", "ModelList", 200,
                   Level::kKey, &AdminHandlers::models});
    out.push_back({"GET", root + "/health", "health", "State of the gateway", "", "Health", 200,
                   Level::kKey, &AdminHandlers::health});
    out.push_back({"GET", root + "/autoscale", "autoscale",
                   "How many replicas there should be and why; KEDA's metrics API reads it", "",
                   "Autoscale", 200, Level::kKey, &AdminHandlers::autoscale});
    return out;
  }();
  return all;
}

}  // namespace tg::gateway
