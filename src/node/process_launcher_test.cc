// Processes that say where a node listens: a shell stands for `tokengrid node`, a node server of
// the test for what it serves.
#include "node/process_launcher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <thread>

#include "env/clock.h"
#include "node/node_server.h"
#include "node/testing/scripted_supplier.h"

namespace tg::node {
namespace {

using Kind = fleet::LaunchEvent::Kind;

class ProcessLauncherTest : public testing::Test {
 protected:
  ProcessLauncherTest() {
    NodeOptions options{.name = "n", .token = "secret"};
    std::vector<u8> seed(32, 1);
    tlog::NoteSigner signer =
        tlog::NoteSigner::create("n", tlog::Suite::kEd25519Sha256, seed).value();
    node_ =
        NodeServer::start(std::move(options), supplier_, std::move(signer), loop_, clock_, random_)
            .value();
  }
  void launch_with(const std::string& script, const std::string& token = "secret") {
    ProcessLauncherOptions options{.command = {"sh", "-c", script, "{name}"}};
    options.remote.token = token;
    options.remote.gateway = "test";
    options.stop_ms_max = 500;
    launcher_ = std::make_unique<ProcessLauncher>(std::move(options), loop_, clock_, random_);
  }
  std::string listening() {
    return "echo listening on 127.0.0.1:" + std::to_string(node_->port()) + "; ";
  }
  // The next event.
  fleet::LaunchEvent next() {
    for (int i = 0; i < 1'000; ++i) {
      std::vector<fleet::LaunchEvent> events = launcher_->poll();
      EXPECT_LE(events.size(), 1u);
      if (!events.empty()) return events[0];
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "nothing happened";
    return {};
  }

  SystemClock clock_;
  OsRandom random_;
  ScriptedSupplier supplier_{100};
  Loop loop_;
  std::unique_ptr<NodeServer> node_;
  std::unique_ptr<ProcessLauncher> launcher_;
};

TEST_F(ProcessLauncherTest, ComesUpAndEndsWhenAsked) {
  launch_with(listening() + "exec cat");
  ASSERT_TRUE(launcher_->start(3, "auto-4").ok());
  fleet::LaunchEvent up = next();
  ASSERT_EQ(up.kind, Kind::kUp);
  EXPECT_EQ(up.slot, 3u);
  EXPECT_TRUE(up.supplier->load().is_up);
  EXPECT_GT(launcher_->describe(3).process, 0);
  EXPECT_EQ(launcher_->describe(3).address, "127.0.0.1:" + std::to_string(node_->port()));
  launcher_->end(3);
  fleet::LaunchEvent ended = next();
  EXPECT_EQ(ended.kind, Kind::kEnded);
  EXPECT_EQ(ended.why, "signal 15");
  EXPECT_EQ(launcher_->describe(3).process, 0);
  ASSERT_TRUE(launcher_->start(3, "auto-4").ok()) << "the slot is free again";
}

TEST_F(ProcessLauncherTest, OneThatDoesNotStartSaysWhy) {
  launch_with("exit 7");
  ASSERT_TRUE(launcher_->start(0, "auto-1").ok());
  EXPECT_EQ(next().why, "exit 7");
  launch_with("true");
  ASSERT_TRUE(launcher_->start(0, "auto-1").ok());
  EXPECT_EQ(next().kind, Kind::kEnded);
}

TEST_F(ProcessLauncherTest, OneThatDoesNotKnowTheTokenIsNeverUp) {
  launch_with(listening() + "sleep 1; exit 1", "another");
  ASSERT_TRUE(launcher_->start(0, "auto-1").ok());
  fleet::LaunchEvent ended = next();
  EXPECT_EQ(ended.kind, Kind::kEnded);
  EXPECT_NE(ended.why.find("exit 1; it refuses us"), std::string::npos) << ended.why;
}

TEST_F(ProcessLauncherTest, WhatCannotBeRunIsAnError) {
  launcher_ = std::make_unique<ProcessLauncher>(
      ProcessLauncherOptions{.command = {"/no/such/program"}}, loop_, clock_, random_);
  EXPECT_FALSE(launcher_->start(0, "auto-1").ok());
  EXPECT_TRUE(launcher_->poll().empty());
}

TEST_F(ProcessLauncherTest, ItsChildrenGoWithIt) {
  launch_with("trap '' TERM; " + listening() + "while :; do sleep 0.1; done");
  ASSERT_TRUE(launcher_->start(0, "auto-1").ok());
  EXPECT_EQ(next().kind, Kind::kUp);
  pid_t id = static_cast<pid_t>(launcher_->describe(0).process);
  launcher_.reset();
  EXPECT_NE(::kill(id, 0), 0) << "one that does not end is killed";
}

TEST_F(ProcessLauncherTest, TheNameTakesItsPlace) {
  launch_with("echo listening on $0; exec cat");
  ASSERT_TRUE(launcher_->start(0, "127.0.0.1:1").ok());
  for (int i = 0; i < 500 && launcher_->describe(0).address.empty(); ++i) {
    EXPECT_TRUE(launcher_->poll().empty());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(launcher_->describe(0).address, "127.0.0.1:1");
}

}  // namespace
}  // namespace tg::node
