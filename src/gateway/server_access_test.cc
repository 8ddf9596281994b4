// Identity, limits, fair turns, the admin API and reloads through a whole server.
#include <nlohmann/json.hpp>

#include "gateway/metrics.h"
#include "gateway/testing/server_fixture.h"

namespace tg::gateway {
namespace {

class ServerAccessTest : public ServerTest {
 protected:
  std::string id_of_first_key() { return keys_->list().value().at(0).id; }
  // Until the server knows what was changed.
  void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(300)); }
};

std::string message_of(const Reply& reply) {
  return nlohmann::json::parse(reply.body)["error"]["message"].get<std::string>();
}

TEST_F(ServerAccessTest, LimitsAnswer429WithHeadersAndSayWhichLevel) {
  ASSERT_TRUE(
      keys_->update(id_of_first_key(), {.limits = RateLimits{.requests_per_minute = 2}}).ok());
  start();
  Reply first = ask(chat());
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.header("x-ratelimit-limit-requests"), "2");
  EXPECT_EQ(first.header("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(ask(chat(R"(,"stream":true)")).header("x-ratelimit-remaining-requests"), "0");
  Reply refused = ask(chat());
  EXPECT_EQ(refused.status, 429);
  EXPECT_FALSE(refused.header("retry-after").empty());
  EXPECT_NE(message_of(refused).find("key 'test' is limited to 2 requests per minute"),
            std::string::npos);
  EXPECT_EQ(billing_.opened().size(), 2u) << "a refused request reserves nothing";
}

TEST_F(ServerAccessTest, TokensAreCountedAtTheirMostAndCorrectedAtTheEnd) {
  ASSERT_TRUE(
      keys_->update(id_of_first_key(), {.limits = RateLimits{.tokens_per_minute = 5'000}}).ok());
  start();
  Reply first = ask(chat(R"(,"max_tokens":1000)"));
  EXPECT_EQ(first.status, 200);
  Reply second = ask(chat(R"(,"max_tokens":1000)"));
  i64 remaining = std::stoll(std::string(second.header("x-ratelimit-remaining-tokens")));
  EXPECT_GT(remaining, 3'800) << "the first gave back what it did not use";
  Reply never = ask(chat(R"(,"max_tokens":6000)"));
  EXPECT_EQ(never.status, 429);
  EXPECT_EQ(never.header("x-should-retry"), "false");
  EXPECT_EQ(never.header("retry-after"), "");
  EXPECT_EQ(ask(chat()).status, 200) << "a default of max_tokens is no reason to refuse";
}

TEST_F(ServerAccessTest, ScopesModelsAndSuspensionAreChecked) {
  constexpr Scope kUsage[] = {Scope::kUsageRead};
  std::string narrow =
      keys_
          ->create({.name = "narrow", .account = "alice", .policy = {.models = {"org/*"}}},
                   clock_.now())
          .value()
          .plaintext;
  std::string reader =
      keys_
          ->create({.name = "reader", .account = "alice", .scopes = ScopeSet::of(kUsage)},
                   clock_.now())
          .value()
          .plaintext;
  start();
  key_ = narrow;
  EXPECT_EQ(ask(chat()).status, 404);
  EXPECT_EQ(nlohmann::json::parse(ask(get("/v1/models", narrow)).body)["data"].size(), 1u);
  key_ = reader;
  Reply denied = ask(chat());
  EXPECT_EQ(denied.status, 403);
  EXPECT_NE(message_of(denied).find("inference"), std::string::npos);
  EXPECT_EQ(ask(get("/v1/receipts/none", reader)).status, 404);
  ASSERT_TRUE(
      keys_->update_unit(Level::kProject, "alice", {.is_suspended = true}, clock_.now()).ok());
  settle();
  Reply suspended = ask(get("/v1/receipts/none", reader));
  EXPECT_EQ(suspended.status, 403);
  EXPECT_NE(message_of(suspended).find("project 'alice' is suspended"), std::string::npos);
}

TEST_F(ServerAccessTest, RequestsWaitForTheirTurnAndAreServedInIt) {
  supplier_.set_script({.hang = true});
  ServerParts made = parts();
  made.models[0].slots_max = 2;
  options_.limits.queue_max = 1;
  server_ = Server::start(options_, std::move(made)).value();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server_->port()));
    clients.back()->send(chat());
    bool is_third = i == 2;
    ASSERT_TRUE(eventually([&] {
      std::string metrics = ask(get("/metrics", "")).body;
      std::string wanted = is_third ? "tokengrid:queue_waiting{model_name=\"tiny\"} 1"
                                    : "tokengrid:requests_open " + std::to_string(i + 1);
      return metrics.find(wanted) != std::string::npos;
    }));
  }
  // The second is open before its hold has been asked for.
  ASSERT_TRUE(eventually([&] { return billing_.opened().size() >= 2; }));
  EXPECT_EQ(billing_.opened().size(), 2u) << "who waits holds no money";
  EXPECT_EQ(ask(chat()).status, 503) << "the queue is full";
  // The first leaves: the third's turn comes.
  clients[0].reset();
  EXPECT_TRUE(eventually([&] { return billing_.opened().size() == 3; }));
  clients.clear();
  EXPECT_TRUE(eventually([&] { return billing_.open_count() == 0; }));
}

TEST_F(ServerAccessTest, AWaitHasAnEnd) {
  supplier_.set_script({.hang = true});
  ServerParts made = parts();
  made.models[0].slots_max = 1;
  options_.limits.queue_ms = 200;
  server_ = Server::start(options_, std::move(made)).value();
  HttpClient first(server_->port());
  first.send(chat());
  ASSERT_TRUE(eventually([&] { return billing_.opened().size() == 1; }));
  Reply late = ask(chat());
  EXPECT_EQ(late.status, 503);
  EXPECT_EQ(late.header("retry-after"), "1");
  // Who leaves while it waits is forgotten.
  options_.limits.queue_ms = 60'000;
  ASSERT_TRUE(server_->reload({.limits = options_.limits}).ok());
  {
    HttpClient gone(server_->port());
    gone.send(chat());
    ASSERT_TRUE(eventually([&] {
      return ask(get("/metrics", "")).body.find("tokengrid:queue_waiting{model_name=\"tiny\"} 1") !=
             std::string::npos;
    }));
  }
  EXPECT_TRUE(eventually([&] {
    return ask(get("/metrics", "")).body.find("tokengrid:queue_waiting{model_name=\"tiny\"} 0") !=
           std::string::npos;
  }));
}

class NoDesk final : public LedgerDesk {
 public:
  Result<std::string> ask(const std::string&) override {
    return std::string(R"({"balance_nst":0,"held_nst":0,"spent_nst":0,"granted_nst":0})");
  }
};

TEST_F(ServerAccessTest, TheAdminApiWantsAKeyOfItsOwn) {
  NoDesk desk;
  ServerParts made = parts();
  made.admin = std::make_unique<AdminApi>(KeyStore::open(folder_, random_).value(), desk, clock_);
  server_ = Server::start(options_, std::move(made)).value();
  Reply closed = ask(get("/admin/v1/keys", key_));
  EXPECT_EQ(closed.status, 403);
  EXPECT_NE(message_of(closed).find("not configured"), std::string::npos);
  constexpr Scope kAdmin[] = {Scope::kAdmin};
  constexpr Scope kRead[] = {Scope::kAdminRead};
  std::string admin =
      keys_->create({.name = "ops", .account = "ops", .scopes = ScopeSet::of(kAdmin)}, clock_.now())
          .value()
          .plaintext;
  std::string reader =
      keys_->create({.name = "eyes", .account = "ops", .scopes = ScopeSet::of(kRead)}, clock_.now())
          .value()
          .plaintext;
  settle();
  EXPECT_EQ(ask(get("/admin/v1/keys", key_)).status, 403);
  EXPECT_EQ(ask(get("/admin/v1/keys", "")).status, 401);
  EXPECT_EQ(ask(get("/admin/v1/keys", reader)).status, 200);
  EXPECT_EQ(ask(get("/admin/v1/health", reader)).body, R"({"status":"ok"})");
  std::string inference = key_;
  key_ = reader;
  EXPECT_EQ(ask(post("/admin/v1/organisations", R"({"name":"x"})")).status, 403);
  key_ = admin;
  EXPECT_EQ(ask(chat()).status, 403) << "an admin key serves no models";
  Reply org = ask(post("/admin/v1/organisations", R"({"name":"x"})"));
  EXPECT_EQ(org.status, 201);
  // In force at once, without waiting for the next look at the file.
  Reply made_key = ask(post("/admin/v1/keys", R"({"name":"new","account":"alice"})"));
  ASSERT_EQ(made_key.status, 201);
  nlohmann::json key = nlohmann::json::parse(made_key.body);
  key_ = key["key"].get<std::string>();
  EXPECT_EQ(ask(chat()).status, 200);
  std::string revoke = "DELETE /admin/v1/keys/" + key["id"].get<std::string>() +
                       " HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + admin + "\r\n\r\n";
  EXPECT_EQ(ask(revoke).status, 200);
  EXPECT_EQ(ask(chat()).status, 401);
  key_ = inference;
  EXPECT_EQ(ask(chat()).status, 200);
  EXPECT_EQ(ask(get("/admin/v1/openapi.json", "")).status, 200);
}

TEST_F(ServerAccessTest, LimitsReload) {
  start();
  EXPECT_EQ(ask(chat()).status, 200);
  options_.limits.body_bytes_max = 10;
  ASSERT_TRUE(server_->reload({.limits = options_.limits}).ok());
  EXPECT_TRUE(eventually([&] { return ask(chat()).status == 413; }));
}

TEST_F(ServerAccessTest, MetricsCarryOpenTelemetrysNames) {
  start();
  EXPECT_EQ(ask(chat()).status, 200);
  std::string text = ask(get("/metrics", "")).body;
  for (const char* line :
       {"gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"chat\","
        "gen_ai_provider_name=\"tokengrid\",gen_ai_request_model=\"tiny\",gen_ai_response_model="
        "\"tiny\"} 1",
        "gen_ai_token_type=\"input\",le=\"+Inf\"} 1", "gen_ai_token_type=\"output\",le=\"+Inf\"} 1",
        "gen_ai_server_time_to_first_token_seconds_count",
        "tokengrid:organisation_requests_total{organisation=\"org_0000000000000001\"} 1"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(GatewayMetricsTest, TenantsAreBounded) {
  GatewayMetrics metrics;
  for (int i = 0; i < 1'000; ++i) ++metrics.tenant("org_" + std::to_string(i)).requests;
  EXPECT_EQ(metrics.tenants.size(), kTenantsMax + 1);
  EXPECT_EQ(metrics.tenants["other"].requests, 1'000 - kTenantsMax);
}

}  // namespace
}  // namespace tg::gateway
