// An engine behind HTTP on loopback, its answers written down: what a supplier makes of good ones,
// of refusals, of connections that break, and how a cancel reaches it.
#include "node/engine_supplier.h"

#include <gtest/gtest.h>

#include "node/testing/sockets.h"
#include "text/small_vocab.h"

namespace tg::node {
namespace {

using fleet::FinishReason;

std::string http(i32 status, const std::string& body, const char* type = "application/json") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\ncontent-type: " + type +
         "\r\ncontent-length: " + std::to_string(body.size()) + "\r\nconnection: close\r\n\r\n" +
         body;
}

// A streamed reply, each event a chunk after a pause.
std::string streamed(const std::vector<std::string>& events) {
  std::string out =
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
  for (const std::string& event : events) {
    std::string data = "data: " + event + "\n\n";
    char size[16];
    std::snprintf(size, sizeof(size), "%zx", data.size());
    out += WrittenServer::kPause;
    out += std::string(size) + "\r\n" + data + "\r\n";
  }
  return out;
}

const std::string kChunkEnd = "0\r\n\r\n";

std::string piece(const std::string& text, const std::string& ids) {
  return R"({"choices":[{"index":0,"text":")" + text + R"(","token_ids":[)" + ids +
         R"(],"finish_reason":null}]})";
}

class EngineSupplierTest : public testing::Test {
 protected:
  // `reply` answers POSTs; probes and metrics are a vLLM's.
  void start(WrittenServer::Answer reply, EngineKind kind = EngineKind::kVllm) {
    server_ = std::make_unique<WrittenServer>([this, reply](const std::string& request) {
      if (request.starts_with("GET /v1/models"))
        return http(200, R"({"data":[{"id":"m","max_model_len":100}]})");
      if (request.starts_with("GET /version")) return http(200, R"({"version":"0.11"})");
      if (request.starts_with("GET /metrics")) {
        return is_sick_ ? http(500, "")
                        : http(200, "vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n",
                               "text/plain");
      }
      requests_.push_back(request);
      return reply(request);
    });
    EngineOptions options{.kind = kind, .url = server_->url(), .open_max = 2, .scrape_ms = 20};
    options.silent_ms = 2'000;
    options.api_key = "k1";
    supplier_ = EngineSupplier::start(options, tokenizer_, loop_, clock_).value();
  }
  bool wait_until(const std::function<bool()>& condition) {
    for (i64 i = 0; i < 5'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  bool wait_up() {
    return wait_until([&] { return supplier_->load().is_up; });
  }
  fleet::SupplyRequest request(u64 id) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = {260, 261};
    r.max_tokens = 6;
    r.events = mailbox_;
    return r;
  }
  // Events of one request until its last.
  fleet::SupplierEvent run(u64 id, std::vector<TokenId>& tokens) {
    EXPECT_TRUE(supplier_->submit(request(id)).ok());
    return finish(tokens);
  }
  fleet::SupplierEvent finish(std::vector<TokenId>& tokens) {
    for (int i = 0; i < 500; ++i) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 10'000'000);
      for (fleet::SupplierEvent& event : events) {
        tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
        if (event.kind == fleet::SupplierEvent::Kind::kFinished) return event;
      }
    }
    ADD_FAILURE() << "no end came";
    return {};
  }

  SystemClock clock_;
  Loop loop_;
  std::shared_ptr<const Tokenizer> tokenizer_ =
      std::make_shared<const Tokenizer>(Tokenizer::create(small_bpe_vocab()).value());
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(1'000);
  std::atomic<bool> is_sick_ = false;
  std::vector<std::string> requests_;
  std::unique_ptr<WrittenServer> server_;
  std::unique_ptr<EngineSupplier> supplier_;
};

TEST_F(EngineSupplierTest, IdsComeThroughAndUsageIsOurs) {
  start([](const std::string&) {
    return streamed({piece("hel", "256,108"), piece("lo", "108,111"),
                     R"({"choices":[{"text":"","token_ids":[],"finish_reason":"stop"}]})",
                     R"({"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":900,)"
                     R"("total_tokens":902,"prompt_tokens_details":{"cached_tokens":1}}})",
                     "[DONE]"}) +
           kChunkEnd;
  });
  ASSERT_TRUE(wait_up());
  EXPECT_EQ(supplier_->facts().context_max, 100);
  EXPECT_TRUE(wait_until([&] { return supplier_->load().waiting == 1; }));
  std::vector<TokenId> tokens;
  fleet::SupplierEvent end = run(1, tokens);
  EXPECT_EQ(tokens, (std::vector<TokenId>{256, 108, 108, 111}));
  EXPECT_EQ(end.reason, FinishReason::kStop);
  EXPECT_EQ(end.usage.prompt_tokens, 2);
  EXPECT_EQ(end.usage.cached_tokens, 1);
  EXPECT_EQ(end.usage.output_tokens, 4);
  EXPECT_FALSE(end.is_estimated);
  EXPECT_NE(end.dispute, "");
  EXPECT_NE(requests_.at(0).find("authorization: Bearer k1"), std::string::npos);
}

TEST_F(EngineSupplierTest, TextWithoutIdsIsTokenizedAndMarked) {
  start(
      [](const std::string&) {
        return streamed({R"({"choices":[{"text":"hello","finish_reason":null}]})",
                         R"({"choices":[{"text":" hello","finish_reason":"length"}]})", "[DONE]"}) +
               kChunkEnd;
      },
      EngineKind::kOpenAi);
  ASSERT_TRUE(wait_up());
  std::vector<TokenId> tokens;
  fleet::SupplierEvent end = run(1, tokens);
  EXPECT_EQ(tokenizer_->decode(tokens), "hello hello");
  EXPECT_TRUE(end.is_estimated);
  EXPECT_EQ(end.reason, FinishReason::kLength);
  EXPECT_EQ(end.usage.output_tokens, static_cast<i64>(tokens.size()));
}

TEST_F(EngineSupplierTest, MoreTokensThanAskedForAreCut) {
  start([](const std::string&) {
    return streamed({piece("x", "1,2,3,4,5,6,7,8,9"), "[DONE]"}) + kChunkEnd;
  });
  ASSERT_TRUE(wait_up());
  std::vector<TokenId> tokens;
  run(1, tokens);
  EXPECT_EQ(tokens.size(), 6u);
}

TEST_F(EngineSupplierTest, RefusalsSayWhoseFaultItIs) {
  struct Case {
    std::string answer;
    fleet::Fault fault;
    const char* part;
  };
  const Case cases[] = {
      {http(429, R"({"error":{"message":"slow down"}})"), fleet::Fault::kBusy, "slow down"},
      {http(503, "loading"), fleet::Fault::kBusy, "loading"},
      {http(400, R"({"object":"error","message":"too long"})"), fleet::Fault::kInvalid, "too long"},
      {http(500, "oops"), fleet::Fault::kBroken, "oops"},
      {streamed({piece("a", "97")}), fleet::Fault::kBroken, "broke off"},
      {streamed({"not json"}) + kChunkEnd, fleet::Fault::kBroken, "no JSON"},
      {"gibberish\r\n\r\n", fleet::Fault::kBroken, "does not answer"},
  };
  std::size_t next = 0;
  start([&](const std::string&) { return cases[next].answer; });
  ASSERT_TRUE(wait_up());
  for (const Case& one : cases) {
    std::vector<TokenId> tokens;
    fleet::SupplierEvent end = run(next + 1, tokens);
    EXPECT_EQ(end.reason, FinishReason::kError);
    EXPECT_EQ(end.fault, one.fault) << one.part;
    EXPECT_NE(end.error.find(one.part), std::string::npos) << end.error;
    ++next;
  }
}

TEST_F(EngineSupplierTest, CancelClosesTheConnection) {
  std::atomic<bool> has_begun = false;
  start([&](const std::string&) {
    has_begun = true;
    std::vector<std::string> events(1'000, piece("a", "97"));
    return streamed(events);
  });
  ASSERT_TRUE(wait_up());
  fleet::SupplyRequest r = request(1);
  r.max_tokens = 90;
  ASSERT_TRUE(supplier_->submit(std::move(r)).ok());
  ASSERT_TRUE(wait_until([&] { return has_begun.load(); }));
  supplier_->cancel(1);
  std::vector<TokenId> tokens;
  EXPECT_EQ(finish(tokens).reason, FinishReason::kCancelled);
  EXPECT_LT(tokens.size(), 90u);
}

TEST_F(EngineSupplierTest, DownAndUpAgainAndLimits) {
  start([](const std::string&) { return streamed({piece("a", "97")}); });
  ASSERT_TRUE(wait_up());
  fleet::SupplyRequest long_one = request(1);
  long_one.max_tokens = 1'000;
  EXPECT_EQ(supplier_->submit(std::move(long_one)).error().code, Code::kInvalid);
  is_sick_ = true;
  EXPECT_TRUE(wait_until([&] { return !supplier_->load().is_up; }));
  is_sick_ = false;
  EXPECT_TRUE(wait_up());
  EXPECT_FALSE(EngineSupplier::start({.url = "ftp://x"}, tokenizer_, loop_, clock_).ok());
}

// Whoever shares the loop runs it and ends it while its users still refer to it.
TEST_F(EngineSupplierTest, ASharedLoopEndsBeforeItsUsers) {
  server_ = std::make_unique<WrittenServer>([](const std::string& request) {
    if (request.starts_with("GET /v1/models"))
      return http(200, R"({"data":[{"id":"m","max_model_len":100}]})");
    if (request.starts_with("GET")) return http(200, "{}");
    return streamed({piece("hel", "256"), piece("lo", "108")});
  });
  Loop shared(Loop::Thread::kLent);
  EngineOptions options{.kind = EngineKind::kVllm, .url = server_->url(), .open_max = 2};
  supplier_ = EngineSupplier::start(options, tokenizer_, shared, clock_).value();
  ASSERT_TRUE(supplier_->submit(request(1)).ok());
  std::vector<fleet::SupplierEvent> events;
  for (int i = 0; i < 500 && events.empty(); ++i) {
    shared.run_for_ms(10);
    mailbox_->drain(events);
  }
  ASSERT_FALSE(events.empty());
  EXPECT_FALSE(events[0].tokens.empty());
  shared.end();
  supplier_->cancel(1);
  EXPECT_TRUE(supplier_->submit(request(2)).ok()) << "what comes later is taken, and never done";
  supplier_.reset();
}

}  // namespace
}  // namespace tg::node
