// HTTP values, routes, error bodies and server-sent events, without sockets.
#include "gateway/http.h"

#include <gtest/gtest.h>

#include "gateway/dialect/openai_reply.h"

namespace tg::gateway {
namespace {

TEST(Http, RoutesByPath) {
  struct Case {
    const char* target;
    Endpoint endpoint;
    const char* argument;
  };
  const Case kCases[] = {
      {"/", Endpoint::kRoot, ""},
      {"/health?x=1", Endpoint::kHealth, ""},
      {"/v1/models", Endpoint::kModels, ""},
      {"/v1/models/a/b", Endpoint::kModel, "a/b"},
      {"/v1/models/a%2fb%zz%4", Endpoint::kModel, "a/b%zz%4"},
      {"/v1/receipts/r1", Endpoint::kReceipt, "r1"},
      {"/v1/receipts/", Endpoint::kUnknown, ""},
      {"/v1/chat/completions", Endpoint::kChatCompletions, ""},
      {"/v1/chat/completions/", Endpoint::kUnknown, ""},
      {"", Endpoint::kUnknown, ""},
      {"*", Endpoint::kUnknown, ""},
  };
  for (const Case& c : kCases) {
    Route route = route_of(c.target);
    EXPECT_EQ(route.endpoint, c.endpoint) << c.target;
    EXPECT_EQ(route.argument, c.argument) << c.target;
  }
  EXPECT_TRUE(is_allowed(route_of("/health"), "HEAD"));
  EXPECT_TRUE(is_allowed(route_of("/v1/completions"), "OPTIONS"));
  EXPECT_FALSE(is_allowed(route_of("/v1/completions"), "GET"));
  EXPECT_FALSE(is_allowed(route_of("/health"), "GE"));
  EXPECT_FALSE(is_allowed(route_of("/health"), "PATCH"));
}

TEST(Http, ErrorBodiesHaveFourKeys) {
  EXPECT_EQ(error_json(invalid_value("n", "bad \"n\"")),
            R"({"error":{"message":"bad \"n\"","type":"invalid_request_error","param":"n",)"
            R"("code":"invalid_value"}})");
  EXPECT_EQ(error_json(ApiError{.message = "m"}),
            R"({"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}})");
}

TEST(Http, JsonTypes) {
  EXPECT_TRUE(is_json_type("application/json"));
  EXPECT_TRUE(is_json_type("Application/JSON ; charset=utf-8"));
  EXPECT_FALSE(is_json_type("application/jsonx"));
  EXPECT_FALSE(is_json_type("text/json"));
}

TEST(Http, Chunks) {
  EXPECT_EQ(chunk_text("0123456789abcdef"), "10\r\n0123456789abcdef\r\n");
}

TEST(ReplyJson, WritesEventsLiterally) {
  ReplyHead head{.id = "chatcmpl-1", .created = 5, .model = "m", .fingerprint = "fp_0"};
  std::unique_ptr<ReplyWriter> writer = make_openai_writer(head);
  std::string out;
  writer->part(out, {.part = {.text = "a\nb"}});
  EXPECT_EQ(out,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"system_fingerprint\":\"fp_0\",\"choices\":[{\"index\":0,\"delta\":{"
            "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
            "\"finish_reason\":null}]}\n\n"
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"system_fingerprint\":\"fp_0\",\"choices\":[{\"index\":0,\"delta\":{"
            "\"content\":\"a\\nb\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  out.clear();
  head.include_usage = true;
  make_openai_writer(head)->end(out, {.prompt_tokens = 3,
                                      .completion_tokens = 4,
                                      .cached_tokens = 1,
                                      .nominal_nst = 1'234'567'890,
                                      .charged = 7,
                                      .value_ucredit = 3,
                                      .views = {.per_million_tokens = {}, .per_mst = 9},
                                      .outcome = meter::Outcome::kLength,
                                      .receipt_ids = {"r"}});
  EXPECT_EQ(out,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"system_fingerprint\":\"fp_0\",\"choices\":[],\"usage\":{"
            "\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,"
            "\"prompt_tokens_details\":{\"cached_tokens\":1},\"completion_tokens_details\":{"
            "\"reasoning_tokens\":0},\"tokengrid\":{\"nominal_st\":\"1.234567890\","
            "\"nominal_nst\":1234567890,\"outcome\":\"LENGTH\",\"charged_nst\":7,"
            "\"price_ucredit\":{\"total\":3,\"per_mst\":9},\"receipt_id\":\"r\"}}}\n\n"
            "data: [DONE]\n\n");
}

}  // namespace
}  // namespace tg::gateway
