// Embeddings over real sockets with a scripted encoder: each API's form, what is counted and
// charged, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "gateway/dialect/embedding_reply.h"
#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

class EmbeddingTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    supplier_.set_script({.text = "", .embedding = {3, 4, 0}});
    ServerParts all = parts();
    all.models.push_back(fake_model("encoder", &supplier_));
    all.models.back().generates = false;
    all.models.back().embedding_width = 3;
    all.models.back().context_max = 10;
    server_ = Server::start(options_, std::move(all)).value();
  }
  Json ask_json(std::string_view path, const std::string& body, i32 status = 200) {
    Reply reply = ask(post(path, body));
    EXPECT_EQ(reply.status, status) << path << " " << body << " " << reply.body;
    return parse_json(reply.body);
  }
};

TEST_F(EmbeddingTest, OpenAisList) {
  Json json = ask_json("/v1/embeddings", R"({"model":"encoder","input":["abc","de"],"user":"u"})");
  EXPECT_EQ(json["object"], "list");
  EXPECT_EQ(json["model"], "encoder");
  ASSERT_EQ(json["data"].size(), 2u);
  EXPECT_EQ(json["data"][0]["object"], "embedding");
  EXPECT_EQ(json["data"][1]["index"], 1);
  EXPECT_EQ(json["data"][0]["embedding"], Json::parse("[3,4,3]"));
  EXPECT_EQ(json["data"][1]["embedding"], Json::parse("[3,4,2]"));
  EXPECT_EQ(json["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(json["usage"]["total_tokens"], 5);
  EXPECT_EQ(json["usage"]["tokengrid"]["receipt_ids"].size(), 2u);
  EXPECT_EQ(json["usage"]["tokengrid"]["nominal_nst"], 50);
  std::vector<HoldClose> closed = billing_.closed();
  ASSERT_EQ(closed.size(), 2u);
  EXPECT_EQ(closed[0].outcome, Outcome::kCompleted);
  EXPECT_EQ(closed[0].delivered_tokens, 1) << "its vector";
  EXPECT_TRUE(billing_.opened()[0].is_embedding);
  EXPECT_EQ(billing_.opened()[0].output_tokens_max, 0);
  EXPECT_TRUE(supplier_.submitted()[0].is_embedding);
}

TEST_F(EmbeddingTest, FormsAndDimensions) {
  Json json = ask_json("/v1/embeddings",
                       R"({"model":"encoder","input":[97,98,99],"encoding_format":"base64"})");
  EXPECT_EQ(json["data"][0]["embedding"], "AABAQAAAgEAAAEBA");
  json = ask_json("/v1/embeddings", R"({"model":"encoder","input":[[1],[2,3]],"dimensions":2})");
  EXPECT_EQ(json["data"].size(), 2u);
  EXPECT_NEAR(json["data"][1]["embedding"][0].get<f64>(), 0.6, 1e-6);
  EXPECT_NEAR(json["data"][1]["embedding"][1].get<f64>(), 0.8, 1e-6);
  EXPECT_EQ(base64_of({1.0f}), "AACAPw==");
  EXPECT_EQ(base64_of({}), "");
  EXPECT_EQ(shortened({0, 0, 5}, 2), (std::vector<f32>{0, 0}));
}

TEST_F(EmbeddingTest, OllamasForms) {
  Json json =
      ask_json("/api/embed", R"({"model":"encoder:latest","input":["abc","abcdefghijklmno"]})");
  EXPECT_EQ(json["embeddings"].size(), 2u);
  EXPECT_EQ(json["embeddings"][1][2], 10) << "cut to the context";
  EXPECT_EQ(json["prompt_eval_count"], 13);
  EXPECT_GT(json["total_duration"], 0);
  json = ask_json("/api/embeddings", R"({"model":"encoder","prompt":"abc"})");
  EXPECT_EQ(json["embedding"], Json::parse("[3,4,3]"));
  json = ask_json("/api/embed", R"({"model":"encoder","input":"abcdefghijklmno","truncate":false})",
                  400);
  EXPECT_THAT(json["error"].get<std::string>(), ::testing::HasSubstr("context of 10"));
}

TEST_F(EmbeddingTest, EstimatesWithoutSpending) {
  Json json = ask_json("/v1/estimate", R"({"model":"encoder","input":"abc"})", 400);
  EXPECT_THAT(json.dump(), ::testing::HasSubstr("not known here")) << "it got as far as the cost";
}

struct Refused {
  const char* path;
  const char* body;
  const char* says;
};

TEST_F(EmbeddingTest, RefusesByNameAndCapability) {
  const Refused table[] = {
      {"/v1/embeddings", R"({"model":"tiny","input":"x"})", "'tiny' makes no embeddings"},
      {"/api/embed", R"({"model":"tiny","input":"x"})", "'tiny' makes no embeddings"},
      {"/v1/chat/completions", R"({"model":"encoder","messages":[{"role":"user","content":"x"}]})",
       "'encoder' generates no text"},
      {"/v1/completions", R"({"model":"encoder","prompt":"x"})", "'encoder' generates no text"},
      {"/v1/messages",
       R"({"model":"encoder","max_tokens":5,"messages":[{"role":"user","content":"x"}]})",
       "'encoder' generates no text"},
      {"/api/chat", R"({"model":"encoder","messages":[{"role":"user","content":"x"}]})",
       "'encoder' generates no text"},
      {"/v1/embeddings", R"({"model":"encoder"})", "'input' is required"},
      {"/v1/embeddings", R"({"model":"encoder","input":[]})", "'input' is empty"},
      {"/v1/embeddings", R"({"model":"encoder","input":""})", "'input' holds no tokens"},
      {"/v1/embeddings", R"({"model":"encoder","input":{"a":1}})", "'input'"},
      {"/v1/embeddings", R"({"model":"encoder","input":[1000]})", "token id 1000"},
      {"/v1/embeddings", R"({"model":"encoder","input":"abcdefghijk"})", "context of 10 tokens"},
      {"/v1/embeddings", R"({"model":"encoder","input":"x","dimensions":4})", "have 3"},
      {"/v1/embeddings", R"({"model":"encoder","input":"x","dimensions":0})", "'dimensions'"},
      {"/v1/embeddings", R"({"model":"encoder","input":"x","encoding_format":"hex"})", "hex"},
      {"/api/embeddings", R"({"model":"encoder","prompt":["a","b"]})", "one text"},
      {"/api/embeddings", R"({"model":"encoder"})", "'prompt' is required"},
  };
  for (const Refused& row : table) {
    Reply reply = ask(post(row.path, row.body));
    EXPECT_EQ(reply.status, 400) << row.path << row.body << reply.body;
    EXPECT_THAT(reply.body, ::testing::HasSubstr(row.says));
  }
  std::string many = "[";
  for (i64 i = 0; i <= kEmbeddingInputsMax; ++i) many += (i > 0 ? ",\"a\"" : "\"a\"");
  Json json = ask_json("/v1/embeddings", R"({"model":"encoder","input":)" + many + "]}", 400);
  EXPECT_THAT(json.dump(), ::testing::HasSubstr("more than 2048"));
  EXPECT_TRUE(billing_.opened().empty());
}

TEST_F(EmbeddingTest, AFailureChargesNothing) {
  supplier_.set_script({.reason = fleet::FinishReason::kError});
  ask_json("/v1/embeddings", R"({"model":"encoder","input":"x"})", 502);
  supplier_.set_script({});  // Ends well, without a vector.
  ask_json("/v1/embeddings", R"({"model":"encoder","input":"x"})", 502);
  for (const HoldClose& close : billing_.closed()) {
    EXPECT_EQ(close.outcome, Outcome::kSellerFault);
    EXPECT_EQ(close.delivered_tokens, 0);
  }
  EXPECT_EQ(billing_.closed().size(), 2u);
}

TEST_F(EmbeddingTest, ABatchAsLargeAsAllowed) {
  std::string many = "[";
  for (i64 i = 0; i < kEmbeddingInputsMax; ++i) many += (i > 0 ? ",\"abc\"" : "\"abc\"");
  Json json = ask_json("/v1/embeddings", R"({"model":"encoder","input":)" + many + "]}");
  EXPECT_EQ(json["data"].size(), static_cast<std::size_t>(kEmbeddingInputsMax));
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3 * kEmbeddingInputsMax);
}

}  // namespace
}  // namespace tg::gateway
