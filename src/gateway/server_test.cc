// The server over real sockets: replies, streams, usage, errors, keep-alive and limits.
#include "gateway/server.h"

#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

TEST_F(ServerTest, AnswersAWholeChat) {
  supplier_.set_script({.text = "Hello!", .tail = {kImEnd}});
  start();
  Reply reply = ask(chat());
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json json = parse_json(reply.body);
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_EQ(json["id"].get<std::string>().substr(0, 9), "chatcmpl-");
  EXPECT_EQ(json["choices"].size(), 1u);
  EXPECT_EQ(json["choices"][0]["message"]["content"], "Hello!");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(json["choices"][0]["logprobs"].is_null());
  // <|im_start|> user \n hi <|im_end|> \n <|im_start|> assistant; Jinja drops the last newline.
  i64 prompt = 1 + 5 + 2 + 1 + 1 + 1 + 9;
  i64 nominal = 10 * prompt + 100 * 7;
  EXPECT_EQ(json["usage"]["prompt_tokens"], prompt);
  EXPECT_EQ(json["usage"]["completion_tokens"], 7);
  EXPECT_EQ(json["usage"]["total_tokens"], prompt + 7);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 5);
  EXPECT_EQ(json["usage"]["tokengrid"]["nominal_nst"], nominal);
  EXPECT_EQ(json["usage"]["tokengrid"]["nominal_st"], "0.000000900");
  EXPECT_EQ(reply.headers["x-tokengrid-nominal-nst"], std::to_string(nominal));
  EXPECT_EQ(reply.headers["x-tokengrid-receipt-id"],
            json["usage"]["tokengrid"]["receipt_id"].get<std::string>());
  EXPECT_EQ(reply.headers["x-request-id"].substr(0, 4), "req_");
  ASSERT_EQ(billing_.opened().size(), 1u);
  EXPECT_EQ(billing_.opened()[0].request_id, reply.headers["x-request-id"]);
  ASSERT_EQ(billing_.closed().size(), 1u);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kCompleted);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 7);
  EXPECT_EQ(supplier_.submitted()[0].stop_tokens, std::vector<TokenId>{kImEnd});
}

TEST_F(ServerTest, StreamsAChatAsOpenAiDoes) {
  supplier_.set_script({.text = "caf\xC3\xA9 \xF0\x9F\x98\x80", .pause_us = 200, .tail = {kImEnd}});
  start();
  Reply reply = ask(chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers["content-type"], "text/event-stream; charset=utf-8");
  Streamed got = streamed(reply);
  EXPECT_EQ(got.text, "caf\xC3\xA9 \xF0\x9F\x98\x80");
  EXPECT_EQ(got.finish, "stop");
  EXPECT_EQ(got.roles, 1);
  std::vector<std::string> events = reply.events();
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events.back(), "[DONE]");
  Json first = parse_json(events.front());
  EXPECT_EQ(first["choices"][0]["delta"]["role"], "assistant");
  EXPECT_TRUE(first["usage"].is_null());
  Json usage = parse_json(events[events.size() - 2]);
  EXPECT_EQ(usage["choices"].size(), 0u);
  EXPECT_EQ(usage["usage"]["completion_tokens"], 11);
  EXPECT_FALSE(usage["usage"]["tokengrid"]["receipt_id"].is_null());
  Json end = parse_json(events[events.size() - 3]);
  EXPECT_EQ(end["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(end["choices"][0]["delta"].empty());
  for (const std::string& event : events) {
    if (event == "[DONE]") continue;
    Json json = parse_json(event);
    EXPECT_EQ(json["id"], first["id"]);
    EXPECT_EQ(json["object"], "chat.completion.chunk");
    EXPECT_TRUE(json.contains("usage"));
  }
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 11);
}

TEST_F(ServerTest, OmitsUsageUnlessAsked) {
  supplier_.set_script({.text = "x"});
  start();
  for (const std::string& event : ask(chat(R"(,"stream":true)")).events()) {
    EXPECT_EQ(event.find("usage"), event.npos) << event;
  }
}

TEST_F(ServerTest, CompletesBatchesOfPrompts) {
  supplier_.set_script({.echo_prompt = true});
  start();
  Reply reply = ask(
      post("/v1/completions", R"({"model":"tiny","prompt":["ab","cde"],"n":2,"max_tokens":2})"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json json = parse_json(reply.body);
  EXPECT_EQ(json["object"], "text_completion");
  ASSERT_EQ(json["choices"].size(), 4u);
  EXPECT_EQ(json["choices"][1]["text"], "ab");
  EXPECT_EQ(json["choices"][1]["finish_reason"], "stop");
  EXPECT_EQ(json["choices"][2]["text"], "cd");
  EXPECT_EQ(json["choices"][2]["finish_reason"], "length");
  EXPECT_EQ(json["choices"][3]["index"], 3);
  EXPECT_EQ(json["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(json["usage"]["completion_tokens"], 8);
  EXPECT_EQ(json["usage"]["tokengrid"]["receipt_ids"].size(), 4u);
  std::vector<HoldOpen> opened = billing_.opened();
  ASSERT_EQ(opened.size(), 4u);
  EXPECT_EQ(opened[1].choice, 1);
  EXPECT_EQ(opened[1].request_id, opened[0].request_id);
  EXPECT_EQ(opened[2].request_id, opened[0].request_id + ".1");
  std::vector<fleet::SupplyRequest> runs = supplier_.submitted();
  EXPECT_EQ(runs[1].sampling.seed, runs[0].sampling.seed + 1);
  EXPECT_EQ(billing_.closed()[2].outcome, Outcome::kLength);
}

TEST_F(ServerTest, TakesTokenIdsAsPrompt) {
  supplier_.set_script({.echo_prompt = true});
  start();
  Reply reply = ask(post("/v1/completions", R"({"model":"tiny","prompt":[104,105]})"));
  EXPECT_EQ(parse_json(reply.body)["choices"][0]["text"], "hi");
  reply = ask(post("/v1/completions", R"({"model":"tiny","prompt":[104,999]})"));
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("999"), reply.body.npos);
}

TEST_F(ServerTest, StopsAtAStopStringAndCancels) {
  supplier_.set_script({.text = "one STOP two", .pause_us = 500, .hang = true});
  start();
  for (const char* stream : {"false", "true"}) {
    Reply reply = ask(chat(std::string(R"(,"stop":["STOP"],"stream":)") + stream));
    ASSERT_EQ(reply.status, 200) << reply.body;
    std::string text =
        std::string(stream) == "true"
            ? streamed(reply).text
            : parse_json(reply.body)["choices"][0]["message"]["content"].get<std::string>();
    EXPECT_EQ(text, "one ");
  }
  EXPECT_EQ(supplier_.cancelled().size(), 2u);
  for (const HoldClose& close : billing_.closed()) {
    EXPECT_EQ(close.outcome, Outcome::kCompleted);
    EXPECT_EQ(close.delivered_tokens, 8);  // "one STOP": what was searched, not what overshot.
  }
}

TEST_F(ServerTest, ReportsLogprobs) {
  supplier_.set_script({.text = "ab", .tail = {kImEnd}});
  start();
  Json json = parse_json(ask(chat(R"(,"logprobs":true,"top_logprobs":2)")).body);
  Json content = json["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[1]["token"], "b");
  EXPECT_EQ(content[1]["bytes"], Json::array({98}));
  EXPECT_EQ(content[1]["logprob"], -0.5);
  EXPECT_EQ(content[1]["top_logprobs"][1]["token"], "x");
  json = parse_json(
      ask(post("/v1/completions", R"({"model":"tiny","prompt":"q","logprobs":1})")).body);
  Json logprobs = json["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json::array({"a", "b"}));
  EXPECT_EQ(logprobs["text_offset"], Json::array({0, 1}));
  EXPECT_EQ(logprobs["token_logprobs"][0], -0.5);
}

TEST_F(ServerTest, AnEmptyReplyIsFlagged) {
  supplier_.set_script({.tail = {kImEnd}});
  start();
  EXPECT_EQ(ask(chat()).status, 200);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kEmpty);
}

TEST_F(ServerTest, ListsModels) {
  start();
  Json json = parse_json(ask(get("/v1/models", key_)).body);
  EXPECT_EQ(json["data"].size(), 3u);
  EXPECT_EQ(json["data"][0]["id"], "tiny");
  EXPECT_EQ(parse_json(ask(get("/v1/models/org%2Fother", key_)).body)["id"], "org/other");
  EXPECT_EQ(parse_json(ask(get("/v1/models/org/other", key_)).body)["object"], "model");
  EXPECT_EQ(parse_json(ask(get("/v1/models/none", key_)).body)["error"]["code"], "model_not_found");
}

TEST_F(ServerTest, ShowsAReceiptToItsOwnerOnly) {
  supplier_.set_script({.text = "x"});
  start();
  std::string id = ask(chat()).headers["x-tokengrid-receipt-id"];
  Reply reply = ask(get("/v1/receipts/" + id, key_));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body.substr(0, 8), "charged ");
  EXPECT_EQ(ask(get("/v1/receipts/" + id, other_key_)).status, 404);
  EXPECT_EQ(ask(get("/v1/receipts/none", key_)).status, 404);
  EXPECT_EQ(ask(get("/v1/receipts/" + id, "tg-wrong")).status, 401);
}

TEST_F(ServerTest, ShowsHealthMetricsAndAPage) {
  supplier_.set_script({.text = "abc", .tail = {kImEnd}});
  start();
  ask(chat());
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\n\r\n").body, R"({"status":"ok"})");
  EXPECT_NE(ask("GET / HTTP/1.1\r\n\r\n").body.find("Tokengrid"), std::string::npos);
  std::string page = ask("GET /metrics HTTP/1.1\r\n\r\n").body;
  for (const char* line :
       {"vllm:num_requests_running{model_name=\"tiny\"} 3\n",
        "vllm:num_requests_waiting{model_name=\"tiny\"} 2\n",
        "vllm:kv_cache_usage_perc{model_name=\"tiny\"} 0.25\n",
        "vllm:generation_tokens_total{model_name=\"tiny\"} 4\n",
        "vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 1\n",
        "vllm:e2e_request_latency_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 1\n",
        "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 1\n",
        "tokengrid:outcomes_total{model_name=\"tiny\",outcome=\"COMPLETED\"} 1\n",
        "tokengrid:actual_st_total{model_name=\"tiny\"} 0.000000002\n",
        "tokengrid:receipts_total{model_name=\"tiny\"} 1\n", "tokengrid:holds_open 0\n"}) {
    EXPECT_NE(page.find(line), page.npos) << line << page;
  }
}

TEST_F(ServerTest, HeadAndPreflight) {
  start();
  HttpClient client(server_->port());
  Reply head = client.ask("HEAD /health HTTP/1.1\r\n\r\n", true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers["content-length"], "15");
  Reply preflight = client.ask("OPTIONS /v1/chat/completions HTTP/1.1\r\norigin: http://a\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers["access-control-allow-origin"], "*");
  EXPECT_NE(preflight.headers["access-control-allow-headers"].find("authorization"),
            std::string::npos);
}

struct BadRequest {
  const char* name;
  const char* head;  // Request line and headers; "AUTH" stands for a good key.
  i32 status;
  const char* code;
};

TEST_F(ServerTest, RefusesInOpenAiShape) {
  start();
  const BadRequest kCases[] = {
      {"no key", "GET /v1/models HTTP/1.1\r\n", 401, "invalid_api_key"},
      {"bad key", "GET /v1/models HTTP/1.1\r\nauthorization: Bearer tg-0\r\n", 401,
       "invalid_api_key"},
      {"basic auth", "GET /v1/models HTTP/1.1\r\nauthorization: Basic dDp0\r\n", 401,
       "invalid_api_key"},
      {"path", "GET /v2/models HTTP/1.1\r\nAUTH", 404, "not_found"},
      {"path with no prefix", "GET /v1/models/ HTTP/1.1\r\nAUTH", 404, "not_found"},
      {"method", "DELETE /v1/models HTTP/1.1\r\nAUTH", 405, "method_not_allowed"},
      {"method", "GET /v1/chat/completions HTTP/1.1\r\nAUTH", 405, "method_not_allowed"},
      {"type", "POST /v1/chat/completions HTTP/1.1\r\nAUTHcontent-type: text/plain\r\n", 415,
       "unsupported_media_type"},
      {"no body", "POST /v1/chat/completions HTTP/1.1\r\nAUTH", 400, "invalid_json"},
  };
  for (const BadRequest& bad : kCases) {
    std::string text = std::string(bad.head) + "\r\n";
    std::size_t at = text.find("AUTH");
    if (at != text.npos) text.replace(at, 4, "authorization: Bearer " + key_ + "\r\n");
    Reply reply = ask(text);
    EXPECT_EQ(reply.status, bad.status) << bad.name;
    Json error = parse_json(reply.body)["error"];
    EXPECT_EQ(error["code"], bad.code) << bad.name << reply.body;
    EXPECT_EQ(error.size(), 4u);
    EXPECT_TRUE(reply.headers.contains("x-request-id"));
  }
  EXPECT_EQ(ask("POST /health HTTP/1.1\r\ncontent-length: 0\r\n\r\n").headers["allow"],
            "GET, HEAD, OPTIONS");
}

TEST_F(ServerTest, AcceptsTheOtherKeyHeaderAndAnyCaseOfBearer) {
  start();
  EXPECT_EQ(ask("GET /v1/models HTTP/1.1\r\nx-api-key: " + key_ + "\r\n\r\n").status, 200);
  EXPECT_EQ(ask("GET /v1/models HTTP/1.1\r\nAuthorization: bearer  " + key_ + "\r\n\r\n").status,
            200);
}

TEST_F(ServerTest, NoticesARevokedKey) {
  start();
  EXPECT_EQ(ask(get("/v1/models", key_)).status, 200);
  std::string id = keys_->list().value()[0].id;
  ASSERT_TRUE(keys_->revoke(id, clock_.now()).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(1'000));
  EXPECT_EQ(ask(get("/v1/models", key_)).status, 401);
}

TEST_F(ServerTest, SaysWhenTheBalanceOrTheContextIsTooSmall) {
  supplier_.set_script({.text = "x"});
  billing_.set_balance(100);
  start();
  Reply poor = ask(chat());
  EXPECT_EQ(poor.status, 402);
  EXPECT_EQ(parse_json(poor.body)["error"]["type"], "insufficient_quota");
  EXPECT_EQ(poor.headers["x-should-retry"], "false");
  EXPECT_TRUE(supplier_.submitted().empty());
  Reply partly = ask(post("/v1/completions", R"({"model":"tiny","prompt":["a","b"],"n":8,
                                                 "max_tokens":0.5})"));
  EXPECT_EQ(partly.status, 400);
  Reply longer = ask(chat(R"(,"max_tokens":100000)"));
  EXPECT_EQ(longer.status, 400);
  EXPECT_EQ(parse_json(longer.body)["error"]["code"], "context_length_exceeded");
}

TEST_F(ServerTest, ClosesTheHoldsOfAPartlyRefusedBatch) {
  billing_.set_balance(10 * 1 + 100 * 4 + 50);
  start();
  Reply reply =
      ask(post("/v1/completions", R"({"model":"tiny","prompt":["a","b"],"max_tokens":4})"));
  EXPECT_EQ(reply.status, 402);
  ASSERT_EQ(billing_.closed().size(), 1u);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kRejected);
}

TEST_F(ServerTest, PassesSupplierRefusalsOn) {
  supplier_.set_script({.refusal = Error{Code::kUnavailable, "full"}});
  start();
  Reply busy = ask(chat());
  EXPECT_EQ(busy.status, 503);
  EXPECT_EQ(busy.headers["retry-after"], "1");
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kRejected);
  supplier_.set_script({.refusal = Error{Code::kInvalid, "too long for the cache"}});
  EXPECT_EQ(ask(chat()).status, 400);
}

TEST_F(ServerTest, LimitsRequestsPerKey) {
  supplier_.set_script({.text = "x", .hang = true});
  options_.limits.requests_per_key_max = 1;
  start();
  HttpClient first(server_->port());
  first.send(chat());
  ASSERT_TRUE(eventually([&] { return supplier_.submitted().size() == 1; }));
  Reply second = ask(chat());
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(parse_json(second.body)["error"]["code"], "rate_limit_exceeded");
}

TEST_F(ServerTest, FailsWholeRepliesWithAStatus) {
  supplier_.set_script({.text = "half", .reason = fleet::FinishReason::kError});
  start();
  EXPECT_EQ(ask(chat()).status, 502);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kSellerFault);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 0);
}

TEST_F(ServerTest, FailsStreamsWithAnErrorEventAndNoFakeFinish) {
  supplier_.set_script({.text = "half", .pause_us = 1'000, .reason = fleet::FinishReason::kError});
  start();
  Reply reply = ask(chat(R"(,"stream":true)"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(streamed(reply).text, "half");
  EXPECT_EQ(streamed(reply).finish, "");
  EXPECT_EQ(parse_json(reply.events().back())["error"]["code"], "supplier_error");
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kSellerFault);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 4);
}

TEST_F(ServerTest, GivesUpOnASilentSupplier) {
  supplier_.set_script({.ignore_cancel = true});
  options_.limits.supply_ms = 200;
  options_.limits.cancel_ms = 200;
  start();
  EXPECT_EQ(ask(chat()).status, 504);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kExpired);
}

TEST_F(ServerTest, ReportsAPortInUse) {
  start();
  ServerOptions taken = options_;
  taken.port = server_->port();
  Result<std::unique_ptr<Server>> second = Server::start(taken, parts());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_NE(second.error().message.find(std::to_string(taken.port)), std::string::npos);
}

TEST_F(ServerTest, TheLikeliestOfSeveralAreTheReply) {
  supplier_.set_script({.text = "abcd", .tail = {kImEnd}, .ranks_by_seed = true});
  start();
  Reply reply = ask(post("/v1/completions",
                         R"({"model":"tiny","prompt":["x","y"],"n":2,"best_of":3,"seed":10,)"
                         R"("logprobs":0})"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json json = parse_json(reply.body);
  ASSERT_EQ(json["choices"].size(), 4u);
  // Seeds 10, 11 and 12 have -1, -2 and 0.
  const f64 wanted[] = {0, -1, 0, -1};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_EQ(json["choices"][i]["logprobs"]["token_logprobs"][0].get<f64>(), wanted[i]);
  }
  EXPECT_EQ(json["usage"]["completion_tokens"], 30) << "all that were made";
  EXPECT_EQ(billing_.closed().size(), 6u);
  supplier_.set_script({.text = "abcd", .tail = {kImEnd}, .ranks_by_seed = true});
  reply = ask(post("/v1/completions", R"({"model":"tiny","prompt":"x","best_of":3,"seed":10})"));
  json = parse_json(reply.body);
  ASSERT_EQ(json["choices"].size(), 1u);
  EXPECT_TRUE(json["choices"][0]["logprobs"].is_null()) << "nobody asked to see them";
  EXPECT_EQ(supplier_.submitted().back().sampling.logprobs, 0);
}

}  // namespace
}  // namespace tg::gateway
