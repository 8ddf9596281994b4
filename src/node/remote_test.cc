// A node and its gateway's end of it, over real TLS on loopback: tokens come once and in order
// whatever happens to the connection, and who may not join is told so.
#include <gtest/gtest.h>

#include <map>

#include "env/clock.h"
#include "node/node_server.h"
#include "node/remote_supplier.h"
#include "node/testing/scripted_supplier.h"
#include "node/testing/sockets.h"
#include "node/usage_statement.h"

namespace tg::node {
namespace {

using fleet::FinishReason;

tlog::NoteSigner signer_of(u8 seed) {
  std::vector<u8> bytes(32, seed);
  return tlog::NoteSigner::create("node-1", tlog::Suite::kEd25519Sha256, bytes).value();
}

struct Got {
  std::vector<TokenId> tokens;
  std::vector<fleet::SupplierEvent> ends;
};

class RemoteTest : public testing::Test {
 protected:
  void start_node(i64 pause_us, NodeOptions options = {}, u8 seed = 1) {
    supplier_ = std::make_unique<ScriptedSupplier>(pause_us);
    restart_node(std::move(options), seed);
  }
  void restart_node(NodeOptions options = {}, u8 seed = 1) {
    options.name = "node-1";
    options.token = "secret";
    options.model = "m";
    options.context_max = 10'000;
    options.port = node_port_;
    node_.reset();
    Result<std::unique_ptr<NodeServer>> node =
        NodeServer::start(std::move(options), *supplier_, signer_of(seed), loop_, clock_, random_);
    ASSERT_TRUE(node.ok()) << node.error().message;
    node_ = std::move(*node);
    node_port_ = node_->port();
  }
  void connect(RemoteOptions options = {}, u16 port = 0) {
    options.address = "127.0.0.1:" + std::to_string(port == 0 ? node_->port() : port);
    if (options.token.empty()) options.token = "secret";
    options.gateway = "test";
    remote_ = RemoteSupplier::start(std::move(options), loop_, clock_, random_).value();
  }
  bool wait_until(const std::function<bool()>& condition, i64 ms = 5'000) {
    for (i64 i = 0; i < ms; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  bool wait_up() {
    return wait_until([&] { return remote_->load().is_up; });
  }
  fleet::SupplyRequest request(u64 id, i64 max_tokens) {
    fleet::SupplyRequest r;
    r.id = id;
    r.prompt = {1, 2, static_cast<TokenId>(id)};
    r.max_tokens = max_tokens;
    r.events = mailbox_;
    return r;
  }
  // Reads until `count` requests have ended.
  void collect(std::size_t count) {
    for (int idle = 0; idle < 1'000 && ended_ < count;) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 10'000'000);
      if (events.empty()) ++idle;
      for (fleet::SupplierEvent& event : events) {
        Got& got = got_[event.request];
        EXPECT_TRUE(got.ends.empty()) << "events after the last";
        got.tokens.insert(got.tokens.end(), event.tokens.begin(), event.tokens.end());
        if (event.kind != fleet::SupplierEvent::Kind::kFinished) continue;
        got.ends.push_back(std::move(event));
        ++ended_;
      }
    }
    EXPECT_EQ(ended_, count);
  }
  static std::vector<TokenId> expected(u64 id, i64 count) {
    std::vector<TokenId> tokens;
    TokenId last = static_cast<TokenId>(id);
    for (i64 i = 0; i < count; ++i) tokens.push_back(last = next_token(last));
    return tokens;
  }

  SystemClock clock_;
  OsRandom random_;
  Loop loop_;
  std::unique_ptr<ScriptedSupplier> supplier_;
  std::unique_ptr<NodeServer> node_;
  u16 node_port_ = 0;
  std::unique_ptr<RemoteSupplier> remote_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(100'000);
  std::map<u64, Got> got_;
  std::size_t ended_ = 0;
};

TEST_F(RemoteTest, ServesManyRequestsAtOnce) {
  start_node(200);
  connect();
  ASSERT_TRUE(wait_up());
  for (u64 id = 1; id <= 50; ++id) ASSERT_TRUE(remote_->submit(request(id, 40)).ok());
  collect(50);
  for (u64 id = 1; id <= 50; ++id) {
    EXPECT_EQ(got_[id].tokens, expected(id, 40)) << id;
    ASSERT_EQ(got_[id].ends.size(), 1u);
    EXPECT_EQ(got_[id].ends[0].reason, FinishReason::kLength);
    EXPECT_EQ(got_[id].ends[0].dispute, "") << id;
    EXPECT_EQ(got_[id].ends[0].usage.output_tokens, 40);
  }
  EXPECT_TRUE(wait_until([&] { return node_->open() == 0; }));
  NodeFacts facts = remote_->facts();
  EXPECT_EQ(facts.name, "node-1");
  EXPECT_EQ(facts.context_max, 10'000);
}

TEST_F(RemoteTest, StreamsGoOnAfterTheConnectionBroke) {
  start_node(500);
  CuttableProxy proxy(node_->port());
  connect({}, proxy.port());
  ASSERT_TRUE(wait_up());
  for (u64 id = 1; id <= 8; ++id) ASSERT_TRUE(remote_->submit(request(id, 400)).ok());
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    proxy.cut();
  }
  collect(8);
  for (u64 id = 1; id <= 8; ++id) {
    EXPECT_EQ(got_[id].tokens, expected(id, 400)) << id;
    EXPECT_EQ(got_[id].ends[0].dispute, "");
  }
  EXPECT_GE(remote_->facts().connections, 3u);
  EXPECT_EQ(supplier_->submitted(), 8);
}

TEST_F(RemoteTest, ANodeThatDiesIsGivenUpAndOneThatComesBackServesAgain) {
  start_node(1'000);
  connect({.resume_ms = 200});
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 5'000)).ok());
  ASSERT_TRUE(wait_until([&] { return supplier_->submitted() == 1; }));
  node_.reset();
  collect(1);
  EXPECT_EQ(got_[1].ends[0].reason, FinishReason::kError);
  EXPECT_EQ(got_[1].ends[0].fault, fleet::Fault::kBroken);
  EXPECT_FALSE(remote_->load().is_up);
  EXPECT_TRUE(wait_until([&] { return supplier_->cancelled() == 1; }));
  restart_node();
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(2, 5)).ok());
  collect(2);
  EXPECT_EQ(got_[2].tokens, expected(2, 5));
}

TEST_F(RemoteTest, ANodeThatRestartedKnowsNothingAndSaysSo) {
  start_node(1'000);
  CuttableProxy proxy(node_->port());
  connect({.resume_ms = 5'000}, proxy.port());
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 5'000)).ok());
  ASSERT_TRUE(wait_until([&] { return supplier_->submitted() == 1; }));
  proxy.refuse(true);
  proxy.cut();
  restart_node();
  proxy.refuse(false);
  collect(1);
  EXPECT_NE(got_[1].ends[0].error.find("restarted"), std::string::npos) << got_[1].ends[0].error;
}

TEST_F(RemoteTest, CancelsAndRefusalsPassThrough) {
  start_node(1'000);
  connect();
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 5'000)).ok());
  ASSERT_TRUE(wait_until([&] { return supplier_->submitted() == 1; }));
  remote_->cancel(1);
  supplier_->set_full(true);
  ASSERT_TRUE(remote_->submit(request(2, 5)).ok());
  collect(2);
  EXPECT_EQ(got_[1].ends[0].reason, FinishReason::kCancelled);
  EXPECT_EQ(got_[2].ends[0].reason, FinishReason::kError);
  EXPECT_EQ(got_[2].ends[0].fault, fleet::Fault::kBusy);
  EXPECT_FALSE(remote_->submit(request(3, 20'000)).ok());
}

TEST_F(RemoteTest, FalseClaimsAreDisputed) {
  start_node(200);
  supplier_->set_lie(1'000);
  connect();
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 5)).ok());
  collect(1);
  EXPECT_NE(got_[1].ends[0].dispute.find("output"), std::string::npos) << got_[1].ends[0].dispute;
}

TEST_F(RemoteTest, StrangersAreRefusedOnBothSides) {
  start_node(200);
  connect({.token = "guess"});
  EXPECT_TRUE(wait_until(
      [&] { return remote_->facts().last_error.find("join token") != std::string::npos; }));
  EXPECT_FALSE(remote_->load().is_up);
  connect({.key = tlog::to_text(signer_of(2).verifier())});
  EXPECT_TRUE(wait_until(
      [&] { return remote_->facts().last_error.find("another key") != std::string::npos; }));
  Digest other{};
  other[0] = 1;
  connect({.program = other});
  EXPECT_TRUE(wait_until(
      [&] { return remote_->facts().last_error.find("runs program") != std::string::npos; }));
  connect({.key = tlog::to_text(signer_of(1).verifier())});
  EXPECT_TRUE(wait_up());
}

TEST_F(RemoteTest, ADrainingNodeFinishesWhatItHas) {
  start_node(500);
  connect();
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 300)).ok());
  ASSERT_TRUE(wait_until([&] { return supplier_->submitted() == 1; }));
  node_->drain();
  ASSERT_TRUE(wait_until([&] { return remote_->load().is_draining; }));
  EXPECT_EQ(remote_->submit(request(2, 3)).error().code, Code::kUnavailable);
  collect(1);
  EXPECT_EQ(got_[1].tokens, expected(1, 300));
  EXPECT_TRUE(wait_until([&] { return node_->open() == 0; }));
}

TEST_F(RemoteTest, TheGatewayEndingCancelsItsRequests) {
  start_node(1'000, {.grace_ms = 100});
  connect();
  ASSERT_TRUE(wait_up());
  ASSERT_TRUE(remote_->submit(request(1, 5'000)).ok());
  ASSERT_TRUE(wait_until([&] { return supplier_->submitted() == 1; }));
  remote_.reset();
  collect(1);
  EXPECT_EQ(got_[1].ends[0].reason, FinishReason::kCancelled);
  EXPECT_TRUE(wait_until([&] { return supplier_->cancelled() == 1 && node_->open() == 0; }));
}

TEST(UsageStatement, SignedOnlyByItsNodeForItsTokens) {
  tlog::NoteSigner signer = signer_of(1);
  UsageStatement statement{.node = "node-1", .session = 5, .request = 6, .usage = {}, .tokens = {}};
  statement.usage.output_tokens = 12;
  std::string text = statement_text(statement);
  std::string signature = sign_statement(text, signer);
  EXPECT_TRUE(check_statement(text, signature, statement, signer.verifier()).ok());
  EXPECT_EQ(check_statement(text, signature, statement, signer_of(2).verifier()).error().code,
            Code::kDenied);
  statement.usage.output_tokens = 11;
  Status other = check_statement(text, signature, statement, signer.verifier());
  EXPECT_EQ(other.error().message, "states 'output 12' where 'output 11' came");
  std::string forged = signature;
  forged[forged.size() - 5] ^= 1;
  statement.usage.output_tokens = 12;
  EXPECT_FALSE(check_statement(text, forged, statement, signer.verifier()).ok());
}

}  // namespace
}  // namespace tg::node
