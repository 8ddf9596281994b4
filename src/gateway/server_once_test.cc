// Idempotency keys over real sockets: one reply and one charge, whatever happens between.
#include "gateway/sqlite.h"
#include "gateway/testing/json.h"
#include "gateway/testing/server_fixture.h"

namespace tg::gateway {
namespace {

class ServerOnceTest : public ServerTest {
 protected:
  std::string chat_once(std::string_view key, std::string_view more = "") {
    return post(
        "/v1/chat/completions",
        R"({"model":"tiny","messages":[{"role":"user","content":"hi"}])" + std::string(more) + "}",
        "idempotency-key: " + std::string(key) + "\r\n");
  }
  i64 charged() {
    i64 sum = 0;
    for (const HoldClose& close : billing_.closed()) sum += close.delivered_tokens;
    return sum;
  }
};

TEST_F(ServerOnceTest, TheSameReplyAndOneCharge) {
  supplier_.set_script({.text = "Hello!", .tail = {kImEnd}});
  start();
  Reply first = ask(chat_once("k1"));
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_EQ(first.header("idempotent-replayed"), "");
  supplier_.set_script({.text = "Another.", .tail = {kImEnd}});
  Reply again = ask(chat_once("k1"));
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.header("idempotent-replayed"), "true");
  EXPECT_EQ(again.header("x-tokengrid-first-request-id"), first.header("x-request-id"));
  EXPECT_EQ(again.header("x-tokengrid-receipt-id"), first.header("x-tokengrid-receipt-id"));
  EXPECT_EQ(billing_.opened().size(), 1u);
  Reply other = ask(chat_once("k2"));
  EXPECT_EQ(parse_json(other.body)["choices"][0]["message"]["content"], "Another.");
  EXPECT_EQ(billing_.opened().size(), 2u);
}

TEST_F(ServerOnceTest, AnotherRequestUnderTheKeyIsAConflict) {
  supplier_.set_script({.text = "x"});
  start();
  ASSERT_EQ(ask(chat_once("k")).status, 200);
  for (const std::string& request :
       {chat_once("k", R"(,"seed":1)"),
        post("/v1/completions", R"({"model":"tiny","prompt":"x"})", "idempotency-key: k\r\n")}) {
    Reply reply = ask(request);
    EXPECT_EQ(reply.status, 409);
    EXPECT_EQ(reply.header("x-should-retry"), "false");
    EXPECT_EQ(parse_json(reply.body)["error"]["code"], "idempotency_conflict");
  }
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, KeysMeanNothingToOtherProjects) {
  supplier_.set_script({.text = "x"});
  start();
  ASSERT_EQ(ask(chat_once("k")).status, 200);
  std::swap(key_, other_key_);
  Reply reply = ask(chat_once("k", R"(,"seed":1)"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("idempotent-replayed"), "");
  EXPECT_EQ(billing_.opened().size(), 2u);
}

TEST_F(ServerOnceTest, WhoComesMeanwhileWaits) {
  supplier_.set_script({.text = "slow reply", .pause_us = 20'000, .tail = {kImEnd}});
  start();
  std::vector<Reply> replies(4);
  std::vector<std::thread> clients;
  for (Reply& reply : replies) clients.emplace_back([&] { reply = ask(chat_once("k")); });
  for (std::thread& client : clients) client.join();
  for (const Reply& reply : replies) {
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, replies[0].body);
  }
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, StreamsAreKeptToo) {
  supplier_.set_script({.text = "Hello!", .pause_us = 100, .tail = {kImEnd}});
  start();
  std::string request = chat_once("k", R"(,"stream":true,"stream_options":{"include_usage":true})");
  Reply first = ask(request);
  Reply again = ask(request);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.header("content-type"), first.header("content-type"));
  EXPECT_EQ(again.events().back(), "[DONE]");
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, SurvivesARestart) {
  supplier_.set_script({.text = "Hello!", .tail = {kImEnd}});
  start();
  Reply first = ask(chat_once("k"));
  server_->stop(2'000);
  server_.reset();
  start();
  Reply again = ask(chat_once("k"));
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, WhatFailedAndCostNothingRunsAgain) {
  supplier_.set_script({.refusal = Error{Code::kUnavailable, "full"}});
  start();
  EXPECT_EQ(ask(chat_once("k")).status, 503);
  supplier_.set_script({.text = "ok", .tail = {kImEnd}});
  Reply reply = ask(chat_once("k"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("idempotent-replayed"), "");
  EXPECT_EQ(charged(), 3);
}

TEST_F(ServerOnceTest, AClientThatLeftFindsOneReplyForOneCharge) {
  supplier_.set_script({.text = "hi", .tail = {kImEnd}, .hang = true});
  start();
  {
    HttpClient client(server_->port());
    client.send(chat_once("k"));
    ASSERT_TRUE(eventually([&] { return supplier_.submitted().size() == 1; }));
  }
  ASSERT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  EXPECT_EQ(charged(), 0);
  supplier_.set_script({.text = "hi", .tail = {kImEnd}});
  EXPECT_EQ(ask(chat_once("k")).status, 200);
  EXPECT_EQ(ask(chat_once("k")).header("idempotent-replayed"), "true");
  EXPECT_EQ(charged(), 3);
}

TEST_F(ServerOnceTest, AStreamThatFailedLateIsNotRunTwice) {
  supplier_.set_script({.text = "half", .pause_us = 5'000, .reason = fleet::FinishReason::kError});
  start();
  std::string request = chat_once("k", R"(,"stream":true)");
  Reply first = ask(request);
  Reply again = ask(request);
  ASSERT_GT(charged(), 0);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.header("idempotent-replayed"), "true");
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, WhatACrashLeftIsNotRunTwice) {
  supplier_.set_script({.text = "Hello!", .tail = {kImEnd}});
  start();
  Reply first = ask(chat_once("k"));
  server_->stop(2'000);
  server_.reset();
  {
    // As if the process had ended between settlement and reply.
    Database db = Database::open(folder_ + "/replies.db", 1'000).value();
    ASSERT_TRUE(db.execute("UPDATE replies SET stage = 1, body = ''").ok());
  }
  start();
  Reply again = ask(chat_once("k"));
  EXPECT_EQ(again.status, 409);
  Json error = parse_json(again.body)["error"];
  EXPECT_EQ(error["code"], "idempotency_interrupted");
  EXPECT_NE(error["message"].get<std::string>().find(first.header("x-request-id")),
            std::string::npos);
  EXPECT_EQ(billing_.opened().size(), 1u);
}

TEST_F(ServerOnceTest, RefusesKeysThatAreNone) {
  supplier_.set_script({.text = "x"});
  start();
  EXPECT_EQ(ask(chat_once(std::string(256, 'k'))).status, 400);
  EXPECT_EQ(ask(chat_once("\x01")).status, 400);
  EXPECT_EQ(ask(chat_once(std::string(255, 'k'))).status, 200);
}

}  // namespace
}  // namespace tg::gateway
