// What the admin API does, one function per operation, and the table that leads to them: it serves
// and documents (openapi.h) the same things.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/admin/api.h"

namespace tg::gateway {

class AdminHandlers {
 public:
  // All borrowed but the store. One thread at a time.
  AdminHandlers(std::unique_ptr<KeyStore> store, LedgerDesk& desk, Clock& clock)
      : store_(std::move(store)), desk_(desk), clock_(clock) {}

  ApiResult<HttpResponse> answer(const AdminRequest& request, const GatewayReport& report);

  struct Call {
    std::vector<std::string> arguments;  // Of the path, in order.
    std::map<std::string, std::string> query;
    nlohmann::json body;
    Level level = Level::kKey;  // That the operation is about.
    const GatewayReport* report = nullptr;
  };
  using Json = nlohmann::json;
  struct Operation {
    std::string method;
    std::string path;  // "/admin/v1/keys/{key}"
    std::string id;
    std::string summary;
    std::string body;  // Schema names; "" for none.
    std::string reply;
    i32 status = 200;
    Level level = Level::kKey;
    Result<Json> (AdminHandlers::*handler)(const Call& call) = nullptr;
    std::vector<std::string> query = {};
  };
  static const std::vector<Operation>& operations();

 private:
  Result<Json> list_units(const Call& call);
  Result<Json> create_unit(const Call& call);
  Result<Json> get_unit(const Call& call);
  Result<Json> update_unit(const Call& call);
  Result<Json> list_keys(const Call& call);
  Result<Json> create_key(const Call& call);
  Result<Json> get_key(const Call& call);
  Result<Json> update_key(const Call& call);
  Result<Json> revoke_key(const Call& call);
  Result<Json> rotate_key(const Call& call);
  Result<Json> list_budgets(const Call& call);
  Result<Json> set_budget(const Call& call);
  Result<Json> remove_budget(const Call& call);
  Result<Json> list_accounts(const Call& call);
  Result<Json> create_account(const Call& call);
  Result<Json> get_account(const Call& call);
  Result<Json> top_up(const Call& call);
  Result<Json> usage(const Call& call);
  Result<Json> models(const Call& call);
  Result<Json> health(const Call& call);
  Result<Json> autoscale(const Call& call);

  Result<std::string> subject_id(const Call& call);
  Result<Json> ask(const std::string& command);
  Result<Json> budget_json(const Budget& budget);
  Result<Json> account_json(const AccountName& account);
  Result<AccountName> account_by_name(const std::string& name);
  Status ensure_in_ledger(const std::string& account);

  std::unique_ptr<KeyStore> store_;
  LedgerDesk& desk_;
  Clock& clock_;
};

}  // namespace tg::gateway
