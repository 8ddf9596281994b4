// The admin API without sockets: what each operation does, and what it refuses.
#include "gateway/admin/api.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "gateway/admin/openapi.h"

namespace tg::gateway {
namespace {

using nlohmann::json;

// Balances by account, in memory.
class FakeDesk final : public LedgerDesk {
 public:
  Result<std::string> ask(const std::string& command) override {
    commands.push_back(command);
    std::string account = command.substr(command.find(' ') + 1);
    if (command.starts_with("topup ")) {
      std::string amount = account.substr(account.find(' ') + 1);
      balances[account.substr(0, account.find(' '))] += std::stoll(amount);
      return std::string("{}");
    }
    if (command.starts_with("ensure ")) {
      balances[account] += 0;
      return std::string("{}");
    }
    if (command == "receipts 0") {
      return std::string(
          R"({"receipts":[{"id":"1","model":"m","outcome":"COMPLETED","prompt_tokens":3,
        "cached_tokens":1,"output_tokens":2,"nominal_nst":7,"actual_nst":1,"billed":8},
        {"id":"2","model":"m","outcome":"LENGTH","prompt_tokens":1,"cached_tokens":0,
        "output_tokens":1,"nominal_nst":1,"actual_nst":1,"billed":1}],"last":2})");
    }
    if (command.starts_with("receipts ")) return std::string(R"({"receipts":[],"last":2})");
    if (!balances.contains(account)) return std::string(R"({"error":"no ledger account"})");
    json out = {{"balance_nst", balances[account]},
                {"held_nst", 0},
                {"spent_nst", 0},
                {"granted_nst", balances[account]}};
    return out.dump();
  }
  std::map<std::string, i64> balances;
  std::vector<std::string> commands;
};

class AdminApiTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_admin_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    api_ = std::make_unique<AdminApi>(KeyStore::open(folder_, random_).value(), desk_, clock_);
  }
  void TearDown() override {
    api_.reset();
    std::filesystem::remove_all(folder_);
  }
  // The reply's JSON, or {"status", "message"} of a refusal.
  json ask(std::string method, std::string path, const json& body = nullptr) {
    AdminRequest request{std::move(method), "/admin/v1" + path, body.is_null() ? "" : body.dump()};
    ApiResult<HttpResponse> result = api_->answer(request, {});
    if (const ApiError* error = std::get_if<ApiError>(&result)) {
      return {{"status", error->status}, {"message", error->message}};
    }
    return json::parse(std::get<HttpResponse>(result).body);
  }
  i64 status(std::string method, std::string path, const json& body = nullptr) {
    json answer = ask(std::move(method), std::move(path), body);
    return answer.contains("message") ? answer["status"].get<i64>() : 200;
  }

  std::string folder_;
  OsRandom random_;
  ManualClock clock_;
  FakeDesk desk_;
  std::unique_ptr<AdminApi> api_;
};

TEST_F(AdminApiTest, MakesATreeAndKeys) {
  json org = ask("POST", "/organisations", {{"name", "acme"}, {"weight", 3}});
  EXPECT_EQ(org["account"], "acme");
  EXPECT_EQ(desk_.commands.back().substr(0, 7), "ensure ");
  json team = ask("POST", "/teams", {{"organisation", "acme"}, {"name", "lab"}});
  json project =
      ask("POST", "/projects",
          {{"team", "acme/lab"}, {"name", "web"}, {"class", "batch"}, {"models", {"tiny*"}}});
  EXPECT_EQ(project["team"], team["id"]);
  EXPECT_EQ(project["class"], "batch");
  json key = ask("POST", "/keys",
                 {{"name", "ci"},
                  {"project", "web"},
                  {"scopes", {"inference"}},
                  {"expires", "2027-02-01"},
                  {"limits", {{"tokens_per_minute", 1000}}}});
  EXPECT_EQ(key["account"], "acme");
  EXPECT_EQ(key["expires"], "2027-02-01T00:00:00.000Z");
  EXPECT_EQ(key["key"].get<std::string>().size(), 67u);
  std::string path = "/keys/" + key["id"].get<std::string>();
  EXPECT_FALSE(ask("GET", path).contains("key"));
  json changed = ask("PATCH", path, {{"limits", {{"concurrent", 2}}}, {"expires", nullptr}});
  EXPECT_EQ(changed["limits"]["concurrent"], 2);
  EXPECT_EQ(changed["limits"]["tokens_per_minute"], 1000) << "absent limits stay";
  EXPECT_TRUE(changed["expires"].is_null());
  json rotated = ask("POST", path + "/rotate", {{"grace_seconds", 60}});
  EXPECT_NE(rotated["key"], key["key"]);
  EXPECT_TRUE(ask("DELETE", path)["revoked"].is_string());
  EXPECT_EQ(ask("GET", "/keys?project=web")["data"].size(), 1u);
  EXPECT_EQ(ask("GET", "/teams?organisation=default")["data"].size(), 1u);
  EXPECT_TRUE(ask("PATCH", "/projects/web", {{"suspended", true}})["suspended"].is_string());
}

TEST_F(AdminApiTest, ListsComeInPages) {
  for (int i = 0; i < 7; ++i) {
    ask("POST", "/organisations", {{"name", "org" + std::to_string(i)}});
  }
  std::vector<std::string> seen;
  std::string after;
  for (int pages = 0; pages < 10; ++pages) {
    json page = ask("GET", "/organisations?limit=3" + (after.empty() ? "" : "&after=" + after));
    for (const json& org : page["data"]) seen.push_back(org["name"]);
    if (!page["has_more"].get<bool>()) break;
    after = page["data"].back()["id"];
  }
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_EQ(seen.front(), "default");
  EXPECT_EQ(seen.back(), "org6");
  EXPECT_EQ(status("GET", "/organisations?limit=0"), 400);
  EXPECT_EQ(status("GET", "/organisations?after=nobody"), 404);
}

TEST_F(AdminApiTest, BudgetsShowWhatIsLeft) {
  json key = ask("POST", "/keys", {{"name", "k"}, {"account", "a"}});
  std::string base = "/keys/" + key["id"].get<std::string>() + "/budgets";
  json budget = ask("PUT", base + "/month", {{"amount_nst", 5000}});
  EXPECT_EQ(budget["remaining_nst"], 5000);
  EXPECT_EQ(budget["period_begins"], "2026-01-01T00:00:00.000Z");
  EXPECT_EQ(budget["period_ends"], "2026-02-01T00:00:00.000Z");
  ask("PUT", base + "/total", {{"amount_nst", 9000}});
  EXPECT_EQ(ask("GET", base)["data"].size(), 2u);
  EXPECT_EQ(ask("DELETE", base + "/total")["deleted"], true);
  EXPECT_EQ(status("DELETE", base + "/total"), 404);
  EXPECT_EQ(status("PUT", base + "/year", {{"amount_nst", 1}}), 400);
  EXPECT_EQ(status("PUT", base + "/day", {{"amount_nst", -1}}), 400);
  EXPECT_EQ(status("PUT", base + "/day", {{"amount_nst", 1.5}}), 400);
  EXPECT_EQ(status("PUT", "/organisations/default/budgets/week", {{"amount_nst", 7}}), 200);
}

TEST_F(AdminApiTest, AccountsAndUsage) {
  json account = ask("POST", "/accounts", {{"name", "alice"}});
  EXPECT_EQ(account["balance_nst"], 0);
  EXPECT_EQ(ask("POST", "/accounts/alice/top-ups", {{"amount_nst", 12}})["balance_nst"], 12);
  EXPECT_EQ(ask("GET", "/accounts/" + account["id"].get<std::string>())["name"], "alice");
  EXPECT_EQ(status("POST", "/accounts/alice/top-ups", {{"amount_nst", 0}}), 400);
  EXPECT_EQ(status("GET", "/accounts/nobody"), 404);
  json usage = ask("GET", "/usage");
  EXPECT_EQ(usage["is_complete"], true);
  ASSERT_EQ(usage["models"].size(), 1u);
  EXPECT_EQ(usage["models"][0]["requests"], 2);
  EXPECT_EQ(usage["models"][0]["billed_nst"], 9);
  EXPECT_EQ(usage["models"][0]["outcomes"]["LENGTH"], 1);
}

TEST_F(AdminApiTest, RefusalsNameWhatIsWrong) {
  struct Case {
    const char* method;
    const char* path;
    json body;
    i64 status;
    const char* says;
  };
  const Case cases[] = {
      {"POST", "/organisations", {{"nmae", "x"}}, 400, "unknown field 'nmae'"},
      {"POST", "/organisations", json::object(), 400, "'name' is missing"},
      {"POST", "/organisations", {{"name", 3}}, 400, "'name' must be a string"},
      {"POST", "/organisations", json::array(), 400, "must be a JSON object"},
      {"POST", "/organisations", {{"name", "default"}}, 409, "already"},
      {"POST", "/organisations", {{"name", "x"}, {"class", "fast"}}, 400, "no class"},
      {"POST", "/organisations", {{"name", "x"}, {"weight", 0}}, 400, "weight"},
      {"POST", "/teams", {{"name", "x"}}, 400, "'organisation' is missing"},
      {"POST", "/teams", {{"name", "x"}, {"organisation", "none"}}, 404, "none"},
      {"POST", "/keys", {{"name", "x"}}, 400, "'project' is missing"},
      {"POST", "/keys", {{"name", "x"}, {"project", "none"}}, 404, "none"},
      {"POST", "/keys", {{"name", "x"}, {"account", "a"}, {"scopes", {"root"}}}, 400, "root"},
      {"POST", "/keys", {{"name", "x"}, {"account", "a"}, {"expires", "soon"}}, 400, "soon"},
      {"POST", "/keys", {{"name", "x"}, {"account", "a"}, {"limits", {{"rpm", 1}}}}, 400, "rpm"},
      {"POST",
       "/keys",
       {{"name", "x"}, {"account", "a"}, {"limits", {{"concurrent", -1}}}},
       400,
       "concurrent is -1"},
      {"GET", "/keys/none", nullptr, 404, "none"},
      {"PUT", "/keys", nullptr, 405, "GET, POST"},
      {"GET", "/nothing", nullptr, 404, "no such path"},
      {"PATCH", "/teams/default", {{"weight", 2}}, 400, "weight"}};
  for (const Case& c : cases) {
    json answer = ask(c.method, c.path, c.body);
    EXPECT_EQ(answer.value("status", 200), c.status) << c.method << c.path << c.body;
    EXPECT_NE(answer.value("message", "").find(c.says), std::string::npos) << answer;
  }
  ApiResult<HttpResponse> broken = api_->answer({"POST", "/admin/v1/keys", "{"}, {});
  EXPECT_EQ(std::get<ApiError>(broken).message, "the body is no JSON");
}

TEST_F(AdminApiTest, AutoscalingIsShownWhereSomebodyDecidesIt) {
  ApiResult<HttpResponse> none = api_->answer({"GET", "/admin/v1/autoscale", ""}, {});
  EXPECT_EQ(std::get<ApiError>(none).status, 404);
  GatewayReport report;
  report.autoscale = R"({"object":"autoscale","desired_replicas":3})";
  ApiResult<HttpResponse> some = api_->answer({"GET", "/admin/v1/autoscale", ""}, report);
  EXPECT_EQ(json::parse(std::get<HttpResponse>(some).body).at("desired_replicas"), 3);
}

TEST_F(AdminApiTest, TheDocumentNamesEveryOperation) {
  json document = json::parse(admin_openapi());
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_TRUE(document["paths"]["/admin/v1/keys/{key}/rotate"].contains("post"));
  std::map<std::string, int> ids;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) ++ids[operation["operationId"]];
  }
  EXPECT_EQ(ids.size(), 38u);
  for (const auto& [id, count] : ids) EXPECT_EQ(count, 1) << id;
}

}  // namespace
}  // namespace tg::gateway
