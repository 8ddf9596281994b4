// However a reply ends, its usage is what the client was shown: at every token, in every API, for a
// client that leaves, one that only closes its sending side, a supplier that falls silent and one
// that fails.
#include <sys/socket.h>

#include <memory>

#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

// Tokens are bytes, so some end within a character, and those are shown by later ones only.
constexpr std::string_view kText = "n\xC3\xA9 \xF0\x9F\x98\x80x";
constexpr i64 kLast = static_cast<i64>(kText.size());
constexpr i64 kShownBytes[] = {0, 1, 1, 3, 4, 4, 4, 4, 8, 9};
constexpr i64 kShownParts[] = {0, 1, 1, 2, 3, 3, 3, 3, 4, 5};
static_assert(std::size(kShownBytes) == kText.size() + 1);

struct Way {
  const char* path;
  const char* body;  // Without its end: "}" or what asks for a stream, or for none.
  const char* streamed;
  const char* whole;
  const char* mark;  // Once for each part of a stream that has text.
};
constexpr const char* kStream = R"(,"stream":true})";
constexpr const char* kNoStream = R"(,"stream":false})";
constexpr Way kWays[] = {
    {"/v1/chat/completions", R"({"model":"tiny","messages":[{"role":"user","content":"hi"}])",
     kStream, "}", R"("delta":{"content":")"},
    {"/v1/completions", R"({"model":"tiny","prompt":"hi")", kStream, "}", R"("text":")"},
    {"/v1/messages",
     R"({"model":"tiny","max_tokens":50,"messages":[{"role":"user","content":"hi"}])", kStream, "}",
     R"("type":"text_delta")"},
    {"/v1/responses", R"({"model":"tiny","input":"hi")", kStream, "}",
     R"("type":"response.output_text.delta")"},
    {"/api/chat", R"({"model":"tiny","messages":[{"role":"user","content":"hi"}])", "}", kNoStream,
     R"("content":")"},
    {"/api/generate", R"({"model":"tiny","prompt":"hi")", "}", kNoStream, R"("response":")"},
};

class UsageTest : public ServerTest {
 protected:
  // Asks for a reply of `tokens` tokens after which nothing comes, or the supplier's failure.
  std::unique_ptr<HttpClient> begin(const Way& way, bool is_stream, i64 tokens, bool fails) {
    Script script{.text = std::string(kText.substr(0, static_cast<std::size_t>(tokens)))};
    script.hang = !fails;
    if (fails) script.reason = fleet::FinishReason::kError;
    supplier_.set_script(std::move(script));
    std::size_t before = supplier_.submitted().size();
    i64 emitted = supplier_.emitted_tokens();
    auto client = std::make_unique<HttpClient>(server_->port());
    client->send(post(way.path, std::string(way.body) + (is_stream ? way.streamed : way.whole)));
    EXPECT_TRUE(eventually([&] {
      return supplier_.submitted().size() > before &&
             supplier_.emitted_tokens() >= emitted + tokens;
    }));
    return client;
  }
  // The close of the n-th request, the first being 1: a hold's number is its place.
  HoldClose close_of(u128 number) {
    HoldClose out;
    EXPECT_TRUE(eventually([&] {
      for (const HoldClose& close : billing_.closed()) {
        if (close.hold == number) out = close;
      }
      return out.hold == number;
    }));
    return out;
  }
  void expect_close(u128 number, Outcome outcome, i64 delivered, i64 tokens) {
    HoldClose close = close_of(number);
    EXPECT_EQ(close.outcome, outcome);
    EXPECT_EQ(close.delivered_tokens, delivered);
    EXPECT_EQ(close.usage.output_tokens, tokens);
    EXPECT_EQ(billing_.closed().size(), supplier_.submitted().size()) << "one close for each";
  }
  // At every token of every API, as a stream and whole.
  template <typename Case>
  void at_every_token(Case expect) {
    for (const Way& way : kWays) {
      for (i64 tokens = 0; tokens <= kLast; ++tokens) {
        for (bool is_stream : {true, false}) {
          if (!is_stream && tokens % 4 != 0) continue;
          SCOPED_TRACE(testing::Message() << way.path << " stream " << is_stream << " " << tokens);
          expect(way, is_stream, tokens);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  void leave_at_every_token(void (*leave)(HttpClient&)) {
    start();
    u128 number = 0;
    at_every_token([&](const Way& way, bool is_stream, i64 tokens) {
      std::unique_ptr<HttpClient> client = begin(way, is_stream, tokens, false);
      i64 parts = is_stream ? kShownParts[tokens] : 0;
      ASSERT_TRUE(client->read_until_count(way.mark, parts));
      leave(*client);
      // A whole reply is one piece: who leaves before it has nothing.
      expect_close(++number, Outcome::kBuyerAbort, is_stream ? kShownBytes[tokens] : 0, tokens);
    });
    EXPECT_EQ(supplier_.cancelled().size(), supplier_.submitted().size());
  }
};

TEST_F(UsageTest, AClientLeaves) {
  leave_at_every_token([](HttpClient& client) { client.close(); });
}

TEST_F(UsageTest, AClientClosesItsSendingSide) {
  leave_at_every_token([](HttpClient& client) {
    client.shut_sending();
    while (!client.is_at_end()) client.skip_unread();
  });
}

// Each choice pays for what was shown of it.
TEST_F(UsageTest, AClientOfSeveralChoicesLeaves) {
  start();
  std::size_t closed = 0;
  for (i64 tokens = 0; tokens <= kLast; ++tokens) {
    SCOPED_TRACE(tokens);
    supplier_.set_script(
        {.text = std::string(kText.substr(0, static_cast<std::size_t>(tokens))), .hang = true});
    i64 emitted = supplier_.emitted_tokens() + 3 * tokens;
    {
      HttpClient client(server_->port());
      client.send(
          post("/v1/completions", R"({"model":"tiny","prompt":["a","b","c"],"stream":true})"));
      ASSERT_TRUE(eventually([&] { return supplier_.emitted_tokens() >= emitted; }));
      ASSERT_TRUE(client.read_until_count(R"("text":")", 3 * kShownParts[tokens]));
      ASSERT_TRUE(eventually([&] { return supplier_.submitted().size() == closed + 3; }));
    }
    closed += 3;
    ASSERT_TRUE(eventually([&] { return billing_.closed().size() == closed; }));
    for (std::size_t i = closed - 3; i < closed; ++i) {
      EXPECT_EQ(billing_.closed()[i].outcome, Outcome::kBuyerAbort);
      EXPECT_EQ(billing_.closed()[i].delivered_tokens, kShownBytes[tokens]);
    }
  }
}

// Before the first text it is a status, after it an event, and never a finish.
void expect_failure(const Reply& reply, bool is_shown, i32 status) {
  EXPECT_EQ(reply.status, is_shown ? 200 : status) << reply.body;
  EXPECT_NE(reply.body.find("error"), std::string::npos) << reply.body;
  EXPECT_EQ(reply.body.find("[DONE]"), std::string::npos) << reply.body;
}

TEST_F(UsageTest, ASupplierFallsSilent) {
  options_.limits.supply_ms = 600;
  start();
  struct Waiting {
    std::unique_ptr<HttpClient> client;
    bool is_stream = false;
    i64 tokens = 0;
  };
  std::vector<Waiting> all;
  at_every_token([&](const Way& way, bool is_stream, i64 tokens) {
    all.push_back({begin(way, is_stream, tokens, false), is_stream, tokens});
  });
  u128 number = 0;
  for (Waiting& each : all) {
    SCOPED_TRACE(testing::Message() << "request " << static_cast<u64>(number));
    i64 delivered = each.is_stream ? kShownBytes[each.tokens] : 0;
    expect_failure(each.client->read_reply(), delivered > 0, 504);
    HoldClose close = close_of(++number);
    EXPECT_EQ(close.outcome, each.tokens > 0 ? Outcome::kSellerFault : Outcome::kExpired);
    EXPECT_EQ(close.delivered_tokens, delivered);
  }
  EXPECT_EQ(billing_.closed().size(), all.size());
  EXPECT_EQ(supplier_.cancelled().size(), all.size());
}

TEST_F(UsageTest, ASupplierFails) {
  start();
  u128 number = 0;
  at_every_token([&](const Way& way, bool is_stream, i64 tokens) {
    std::unique_ptr<HttpClient> client = begin(way, is_stream, tokens, true);
    i64 delivered = is_stream ? kShownBytes[tokens] : 0;
    expect_failure(client->read_reply(), delivered > 0, 502);
    expect_close(++number, Outcome::kSellerFault, delivered, tokens);
  });
}

}  // namespace
}  // namespace tg::gateway
