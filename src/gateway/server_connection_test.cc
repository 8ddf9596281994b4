// Connections that misbehave or end early: aborts, slow readers, pipelining, broken HTTP, draining,
// and many at once.
#include <thread>

#include "gateway/server.h"
#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

TEST_F(ServerTest, AnAbortedStreamIsCancelledAndChargedAsDelivered) {
  supplier_.set_script({.text = "0123456789", .repeat = 1'000, .pause_us = 2'000});
  start();
  HttpClient client(server_->port());
  client.send(chat(R"(,"stream":true)"));
  ASSERT_TRUE(client.read_until("\"content\":\"7\""));
  client.close();
  ASSERT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  EXPECT_EQ(supplier_.cancelled().size(), 1u);
  HoldClose close = billing_.closed()[0];
  EXPECT_EQ(close.outcome, Outcome::kBuyerAbort);
  EXPECT_GE(close.delivered_tokens, 8);
  EXPECT_LE(close.delivered_tokens, close.usage.output_tokens);
  EXPECT_LT(close.usage.output_tokens, 1'000);
  EXPECT_GT(close.timing.first_delivery_ns, 0);
}

TEST_F(ServerTest, AnAbortedWholeReplyIsCancelled) {
  supplier_.set_script({.text = "x", .hang = true});
  start();
  HttpClient client(server_->port());
  client.send(chat());
  ASSERT_TRUE(eventually([&] { return supplier_.emitted_tokens() == 1; }));
  client.close();
  ASSERT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kBuyerAbort);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 0);
  EXPECT_EQ(supplier_.cancelled().size(), 1u);
}

TEST_F(ServerTest, AnAbortIsSeenBehindPipelinedInput) {
  supplier_.set_script({.text = "x", .hang = true});
  start();
  HttpClient client(server_->port());
  client.send(chat() + "GET /health HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return supplier_.emitted_tokens() == 1; }));
  client.close();
  EXPECT_TRUE(eventually([&] { return supplier_.cancelled().size() == 1; }));
}

TEST_F(ServerTest, ASlowReaderIsCutAndStallsNobody) {
  supplier_.set_script({.text = std::string(100, 'y'), .repeat = 900});
  options_.limits.events_pending_max = 200;
  options_.limits.send_buffer_bytes = 4'096;
  start();
  HttpClient slow(server_->port(), 4'096);
  slow.send(chat(R"(,"stream":true,"max_tokens":90000)"));
  ASSERT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  HoldClose close = billing_.closed()[0];
  EXPECT_EQ(close.outcome, Outcome::kBuyerAbort);
  EXPECT_LT(close.delivered_tokens, 45'000);
  supplier_.set_script({.text = "fine"});
  EXPECT_EQ(ask(chat()).status, 200);
}

TEST_F(ServerTest, AWriteThatNobodyReadsTimesOut) {
  supplier_.set_script({.text = std::string(1'000, 'y'), .repeat = 90, .tokens_per_event = 1'000});
  options_.limits.send_buffer_bytes = 4'096;
  options_.limits.write_ms = 200;
  start();
  HttpClient slow(server_->port(), 4'096);
  slow.send(chat(R"(,"stream":true,"max_tokens":90000)"));
  EXPECT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kBuyerAbort);
}

TEST_F(ServerTest, KeepsTheConnectionAfterAStream) {
  supplier_.set_script({.text = "again"});
  start();
  HttpClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(streamed(client.ask(chat(R"(,"stream":true)"))).text, "again");
    EXPECT_EQ(client.ask(chat()).status, 200);
  }
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  supplier_.set_script({.text = "reply", .pause_us = 1'000});
  start();
  HttpClient client(server_->port());
  client.send(chat(R"(,"stream":true)") + get("/v1/models", key_) + chat() +
              "GET /health HTTP/1.1\r\nconnection: close\r\n\r\n");
  EXPECT_EQ(streamed(client.read_reply()).text, "reply");
  EXPECT_EQ(parse_json(client.read_reply().body)["object"], "list");
  EXPECT_EQ(parse_json(client.read_reply().body)["object"], "chat.completion");
  EXPECT_EQ(client.read_reply().body, R"({"status":"ok"})");
  EXPECT_TRUE(client.is_at_end());
}

TEST_F(ServerTest, ReadsRequestsThatComeInPieces) {
  supplier_.set_script({.text = "ok"});
  start();
  HttpClient client(server_->port());
  std::string text = chat();
  for (std::size_t i = 0; i < text.size(); i += 7) client.send(text.substr(i, 7));
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(ServerTest, ReadsChunkedBodiesAndExpectations) {
  supplier_.set_script({.text = "ok"});
  start();
  std::string body = R"({"model":"tiny","messages":[{"role":"user","content":"hi"}]})";
  std::string head = "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer " + key_ +
                     "\r\ncontent-type: application/json\r\n";
  HttpClient client(server_->port());
  client.send(head + "transfer-encoding: chunked\r\n\r\n" + "10\r\n" + body.substr(0, 16) + "\r\n");
  client.send("2c\r\n" + body.substr(16) + "\r\n0\r\n\r\n");
  ASSERT_EQ(body.size(), 16u + 0x2c);
  EXPECT_EQ(client.read_reply().status, 200);
  client.send(head + "expect: 100-continue\r\ncontent-length: " + std::to_string(body.size()) +
              "\r\n\r\n");
  EXPECT_EQ(client.read_reply(true).status, 100);
  EXPECT_EQ(client.ask(body).status, 200);
}

TEST_F(ServerTest, StreamsToHttp10ByClosing) {
  supplier_.set_script({.text = "old"});
  start();
  std::string text = chat(R"(,"stream":true)");
  text.replace(text.find("HTTP/1.1"), 8, "HTTP/1.0");
  HttpClient client(server_->port());
  Reply reply = client.ask(text);
  EXPECT_FALSE(reply.headers.contains("transfer-encoding"));
  EXPECT_EQ(streamed(reply).text, "old");
}

TEST_F(ServerTest, RefusesMalformedAndOversizedHttp) {
  options_.limits.body_bytes_max = 1'000;
  options_.limits.header_bytes_max = 2'000;
  start();
  struct Case {
    std::string text;
    i32 status;
    const char* code;
  };
  const Case kCases[] = {
      {"NONSENSE\r\n\r\n", 400, "bad_request"},
      {"GET / HTTP/3.7\r\n\r\n", 400, "bad_request"},
      {"GET /health HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad_request"},
      {"POST /v1/completions HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400,
       "bad_request"},
      {"POST /v1/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400, "bad_request"},
      {"POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400,
       "bad_request"},
      {"GET / HTTP/1.1\r\nx: " + std::string(3'000, 'a'), 431, "header_too_large"},
      {post("/v1/completions", std::string(1'001, ' ')), 413, "request_too_large"},
  };
  for (const Case& bad : kCases) {
    HttpClient client(server_->port());
    Reply reply = client.ask(bad.text);
    EXPECT_EQ(reply.status, bad.status) << bad.text.substr(0, 80);
    EXPECT_EQ(parse_json(reply.body)["error"]["code"], bad.code) << bad.text.substr(0, 80);
    EXPECT_EQ(reply.headers["connection"], "close");
  }
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\n\r\n").status, 200);
}

TEST_F(ServerTest, ClosesSilentAndSlowSenders) {
  options_.limits.idle_ms = 150;
  options_.limits.header_ms = 150;
  options_.limits.body_ms = 150;
  start();
  HttpClient idle(server_->port());
  HttpClient half_header(server_->port());
  half_header.send("GET /health HT");
  HttpClient half_body(server_->port());
  half_body.send("POST /v1/completions HTTP/1.1\r\ncontent-length: 10\r\n\r\nab");
  EXPECT_TRUE(idle.is_at_end());
  EXPECT_TRUE(half_header.is_at_end());
  EXPECT_TRUE(half_body.is_at_end());
}

TEST_F(ServerTest, RefusesConnectionsAboveTheLimit) {
  options_.limits.connections_max = 2;
  start();
  HttpClient first(server_->port());
  HttpClient second(server_->port());
  EXPECT_EQ(first.ask("GET /health HTTP/1.1\r\n\r\n").status, 200);
  EXPECT_EQ(second.ask("GET /health HTTP/1.1\r\n\r\n").status, 200);
  HttpClient third(server_->port());
  EXPECT_EQ(third.read_reply().status, 503);
  first.close();
  EXPECT_TRUE(eventually([&] { return ask("GET /health HTTP/1.1\r\n\r\n").status == 200; }));
}

TEST_F(ServerTest, PingsASilentStream) {
  supplier_.set_script({.text = "x", .hang = true});
  options_.limits.ping_ms = 50;
  start();
  HttpClient client(server_->port());
  client.send(chat(R"(,"stream":true)"));
  EXPECT_TRUE(client.read_until(": ping\n\n"));
}

TEST_F(ServerTest, ServesManyStreamsAtOnce) {
  constexpr int kStreams = 64;
  supplier_.set_script({.echo_prompt = true, .pause_us = 500});
  start();
  std::vector<std::thread> threads;
  std::vector<std::string> texts(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    threads.emplace_back([this, i, &texts] {
      std::string prompt = "stream number " + std::to_string(i) + " says hello";
      std::string body = R"({"model":"tiny","stream":true,"max_tokens":100,"prompt":")" + prompt;
      HttpClient client(server_->port());
      for (int round = 0; round < 2; ++round) {
        texts[i] = streamed(client.ask(post("/v1/completions", body + "\"}"))).text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kStreams; ++i) {
    EXPECT_EQ(texts[i], "stream number " + std::to_string(i) + " says hello");
  }
  EXPECT_EQ(billing_.closed().size(), 2u * kStreams);
}

TEST_F(ServerTest, TakesLargePromptsBesideTheLoop) {
  supplier_.set_script({.text = "ok"});
  start();
  std::string prompt(90'000, 'a');
  Reply reply = ask(post("/v1/completions", R"({"model":"tiny","prompt":")" + prompt + "\"}"));
  EXPECT_EQ(parse_json(reply.body)["usage"]["prompt_tokens"], 90'000);
}

TEST_F(ServerTest, DrainsFinishingWhatIsOpen) {
  supplier_.set_script({.text = "0123456789", .repeat = 5, .pause_us = 5'000});
  start();
  HttpClient idle(server_->port());
  EXPECT_EQ(idle.ask("GET /health HTTP/1.1\r\n\r\n").status, 200);
  HttpClient client(server_->port());
  client.send(chat(R"(,"stream":true)"));
  ASSERT_TRUE(client.read_until("\"content\":\"1\""));
  u16 port = server_->port();
  std::thread stopper([this] { server_->stop(10'000); });
  EXPECT_TRUE(client.read_until("[DONE]"));
  stopper.join();
  EXPECT_TRUE(idle.is_at_end());
  EXPECT_FALSE(HttpClient(port).is_connected());
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kCompleted);
}

TEST_F(ServerTest, CancelsWhatOutlivesTheDrain) {
  supplier_.set_script({.text = "x", .hang = true});
  start();
  HttpClient client(server_->port());
  client.send(chat(R"(,"stream":true)"));
  ASSERT_TRUE(client.read_until("\"content\":\"x\""));
  server_->stop(50);
  EXPECT_TRUE(client.read_until("the server is stopping"));
  EXPECT_EQ(supplier_.cancelled().size(), 1u);
  EXPECT_EQ(billing_.closed()[0].outcome, Outcome::kSellerFault);
  EXPECT_EQ(billing_.closed()[0].delivered_tokens, 1);
}

}  // namespace
}  // namespace tg::gateway
