// Bugs that other gateways have in public and that show at the HTTP edge only, one test each, named
// for the report; those of money alone are in till_regress_test.cc. docs/known_bugs.md lists all.
#include <set>

#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

struct Way {
  const char* path;
  const char* body;
};
constexpr Way kWays[] = {
    {"/v1/chat/completions", R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})"},
    {"/v1/chat/completions",
     R"({"model":"tiny","messages":[{"role":"user","content":"hi"}],"stream":true})"},
    {"/v1/completions", R"({"model":"tiny","prompt":"hi"})"},
    {"/v1/messages",
     R"({"model":"tiny","max_tokens":50,"messages":[{"role":"user","content":"hi"}]})"},
    {"/v1/responses", R"({"model":"tiny","input":"hi"})"},
    {"/v1/responses", R"({"model":"tiny","input":"hi","background":false,"store":true})"},
    {"/v1/embeddings", R"({"model":"encoder","input":"hi"})"},
    {"/api/chat", R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})"},
    {"/api/generate", R"({"model":"tiny","prompt":"hi","stream":false})"},
    {"/api/embed", R"({"model":"encoder","input":"hi"})"},
};

class ServerRegress : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    ServerParts all = parts();
    all.models.push_back(fake_model("encoder", &supplier_));
    all.models.back().generates = false;
    all.models.back().embedding_width = 3;
    supplier_.set_script({.text = "abc", .tail = {kImEnd}});
    server_ = Server::start(options_, std::move(all)).value();
  }
};

// maximhq/bifrost#2873: the routes that pass a body through ask no budget. Whatever runs, by
// whichever way, is held for first.
TEST_F(ServerRegress, Bifrost2873NoRouteRunsWithoutFunds) {
  billing_.set_balance(5);
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.path);
    EXPECT_EQ(ask(post(way.path, way.body)).status, 402);
  }
  EXPECT_TRUE(supplier_.submitted().empty());
  EXPECT_TRUE(billing_.closed().empty());
}

// BerriAI/litellm#17814: reading a stored response is charged again. #37358: of a chain of
// responses only the last round is logged.
TEST_F(ServerRegress, Litellm17814ReadingAResponseIsFreeAndEveryRoundIsChargedOnce) {
  Json first =
      parse_json(ask(post("/v1/responses", R"({"model":"tiny","input":"hi","store":true})")).body);
  std::string id = first["id"];
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(parse_json(ask(get("/v1/responses/" + id, key_)).body)["id"], id);
  EXPECT_EQ(billing_.opened().size(), 1u);
  EXPECT_EQ(billing_.closed().size(), 1u);
  Reply second = ask(post("/v1/responses", R"({"model":"tiny","input":"and?",)"
                                           R"("previous_response_id":")" +
                                               id + "\"}"));
  EXPECT_EQ(second.status, 200) << second.body;
  std::vector<HoldClose> closed = billing_.closed();
  ASSERT_EQ(closed.size(), 2u);
  EXPECT_NE(closed[0].hold, closed[1].hold);
  EXPECT_GT(closed[0].delivered_tokens, 0);
  EXPECT_GT(closed[1].delivered_tokens, 0);
}

// BerriAI/litellm#28735, anomalyco/opencode#42918: the chunk with the usage has choices, no id or
// no model, or comes unasked.
TEST_F(ServerRegress, Litellm28735TheUsageChunkIsOneOfItsStreamAndHasNoChoices) {
  EXPECT_EQ(ask(chat(R"(,"stream":true)")).body.find("prompt_tokens"), std::string::npos);
  Reply reply = ask(chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  std::set<std::string> ids;
  i64 with_usage = 0;
  for (const std::string& event : reply.events()) {
    Json json = parse_json(event);
    if (!json.is_object()) continue;
    ids.insert(json["id"].get<std::string>());
    EXPECT_EQ(json["model"], "tiny");
    if (json["usage"].is_null()) continue;
    ++with_usage;
    EXPECT_TRUE(json["choices"].is_array() && json["choices"].empty());
  }
  EXPECT_EQ(with_usage, 1);
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_FALSE(ids.contains(""));
}

}  // namespace
}  // namespace tg::gateway
