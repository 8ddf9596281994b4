// A pool that is fed by hand, replicas that a script launches, a clock that moves when it is told.
#include "dispatch/pool_scaler.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <thread>

namespace tg::dispatch {
namespace {

using fleet::SupplierEvent;

constexpr i64 kMs = 1'000'000;
constexpr i64 kSecond = 1'000 * kMs;

// Keeps what it is given until it is told to answer.
class HeldSupplier final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest request) override {
    held.push_back(std::move(request));
    return {};
  }
  void cancel(u64) override {}
  fleet::SupplierLoad load() const override {
    fleet::SupplierLoad load{.context_max = 1'000};
    load.step = {.ns_per_step = 20e6, .ns_per_token = 1e6, .ns_per_row = 1e6};
    load.slots = 4;
    load.is_up = is_up;
    return load;
  }
  void answer_all() {
    for (fleet::SupplyRequest& request : std::exchange(held, {})) {
      SupplierEvent tokens;
      tokens.request = request.id;
      tokens.tokens = {1};
      request.events->try_push(tokens);
      SupplierEvent last;
      last.request = request.id;
      last.kind = SupplierEvent::Kind::kFinished;
      request.events->try_push(last);
    }
  }
  std::vector<fleet::SupplyRequest> held;
  bool is_up = true;
};

class ScriptedLauncher final : public fleet::Launcher {
 public:
  Status start(u32 slot, const std::string& name) override {
    if (is_broken) return Error{Code::kIo, "no such program"};
    EXPECT_TRUE(running.emplace(slot, std::make_shared<HeldSupplier>()).second);
    EXPECT_EQ(name, replica_name(slot));
    if (is_slow) return {};
    events.push_back({.slot = slot, .supplier = running.at(slot), .why = ""});
    return {};
  }
  void end(u32 slot) override { finish(slot, "exit 0"); }
  void kill(u32 slot) override { finish(slot, "signal 9"); }
  void finish(u32 slot, std::string why) {
    EXPECT_EQ(running.erase(slot), 1u);
    events.push_back({slot, fleet::LaunchEvent::Kind::kEnded, nullptr, std::move(why)});
  }
  std::vector<fleet::LaunchEvent> poll() override { return std::exchange(events, {}); }
  fleet::LaunchedReplica describe(u32 slot) const override {
    return running.contains(slot) ? fleet::LaunchedReplica{.process = 100 + slot, .address = "a"}
                                  : fleet::LaunchedReplica{};
  }
  std::map<u32, std::shared_ptr<HeldSupplier>> running;
  std::vector<fleet::LaunchEvent> events;
  bool is_broken = false;
  bool is_slow = false;
};

class PoolScalerTest : public testing::Test {
 protected:
  PoolScalerTest() {
    PoolSettings settings;
    settings.absence_ns_max = 60 * kSecond;
    pool_ = std::make_unique<Pool>(settings, std::vector<PoolMember>{}, clock_);
    pool_->borrow(nullptr);
    // Its own thread has had its last turn: the clock is ours.
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    pool_->turn(3);
  }
  void start(ScalerOptions options, bool launches = true) {
    options.pool = "m";
    options.tpot_target_ns = 100 * kMs;
    options.facts.step = {.ns_per_step = 20e6, .ns_per_token = 1e6, .ns_per_row = 1e6};
    scaler_ = std::make_unique<PoolScaler>(std::move(options), *pool_,
                                           launches ? &launcher_ : nullptr, clock_);
    turn();
  }
  static ScalerOptions options() {
    ScalerOptions o;
    o.scale = {.utilisation = 1,
               .window_s = 6,
               .panic_window_s = 2,
               .drain_ns = 2 * kSecond,
               .idle_ns = 3 * kSecond,
               .replicas_max = 3};
    return o;
  }
  void turn() {
    pool_->turn(3);
    scaler_->turn();
    pool_->turn(3);
  }
  void submit(i64 max_tokens = 100) {
    fleet::SupplyRequest request;
    request.id = ++requests_;
    request.prompt = {1, 2, 3};
    request.max_tokens = max_tokens;
    request.events = events_;
    ASSERT_TRUE(pool_->submit(std::move(request)).ok());
  }
  // `seconds` in tenths; replicas answer in each.
  void play(i64 seconds, i64 per_tenth = 0, bool answers = true) {
    for (i64 i = 0; i < 10 * seconds; ++i) {
      clock_.advance_ns(kSecond / 10);
      for (i64 n = 0; n < per_tenth; ++n) submit();
      turn();
      if (!answers) continue;
      for (auto& [slot, supplier] : launcher_.running) supplier->answer_all();
      turn();
    }
    std::vector<SupplierEvent> got;
    events_->drain(got);
    for (const SupplierEvent& event : got) {
      if (event.kind != SupplierEvent::Kind::kFinished) continue;
      ++ended_;
      EXPECT_NE(event.reason, fleet::FinishReason::kError) << event.error;
    }
  }
  bool says(const std::string& part) { return pool_->scaling().find(part) != std::string::npos; }

  ManualClock clock_;
  ScriptedLauncher launcher_;
  std::shared_ptr<Mailbox<SupplierEvent>> events_ =
      std::make_shared<Mailbox<SupplierEvent>>(10'000);
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<PoolScaler> scaler_;
  u64 requests_ = 0;
  u64 ended_ = 0;
};

TEST_F(PoolScalerTest, FromZeroForOneRequestAndBackAndNothingIsDropped) {
  start(options());
  play(3);
  EXPECT_TRUE(launcher_.running.empty());
  launcher_.is_slow = true;
  submit();
  play(10);
  ASSERT_EQ(launcher_.running.size(), 1u);
  EXPECT_EQ(ended_, 0u) << "it waits for the start";
  EXPECT_TRUE(says("\"starting_replicas\":1")) << pool_->scaling();
  launcher_.events.push_back({.slot = 0, .supplier = launcher_.running.at(0), .why = ""});
  play(1);
  EXPECT_EQ(ended_, 1u);
  EXPECT_TRUE(says("\"cold_start_is_measured\":true"));
  play(20);
  EXPECT_TRUE(launcher_.running.empty());
  EXPECT_TRUE(says("\"desired_replicas\":0")) << pool_->scaling();
}

TEST_F(PoolScalerTest, WorkIsTokensByMeasuredSteps) {
  start(options());
  // 4 at once: 20 / 4 + 2 ms an output token. 10 requests/s of 3 and 100 tokens are 7.03 replicas'
  // work.
  play(10, 1, false);
  EXPECT_EQ(launcher_.running.size(), 3u);
  EXPECT_TRUE(says("\"for_arrivals\":8")) << pool_->scaling();
  EXPECT_TRUE(says("\"replica\":{\"requests\":4,")) << pool_->scaling();
  EXPECT_TRUE(says(", at most 3")) << pool_->scaling();
  EXPECT_NE(pool_->metrics().find("tokengrid:autoscale_desired_replicas{pool=\"m\"} 3"),
            std::string::npos);
  play(40);
  EXPECT_EQ(ended_, requests_) << "what waited has been served";
  EXPECT_TRUE(launcher_.running.empty());
}

TEST_F(PoolScalerTest, DrainsBeforeItEnds) {
  start(options());
  submit();
  play(1, 0, false);
  ASSERT_EQ(launcher_.running.size(), 1u);
  std::shared_ptr<HeldSupplier> replica = launcher_.running.at(0);
  ASSERT_EQ(replica->held.size(), 1u);
  play(30, 0, false);
  ASSERT_EQ(launcher_.running.size(), 1u) << "something is open there";
  EXPECT_TRUE(says("\"state\":\"draining\"")) << pool_->scaling();
  play(2);
  EXPECT_EQ(ended_, 1u);
  EXPECT_TRUE(launcher_.running.empty());
}

TEST_F(PoolScalerTest, ADeadReplicaIsReplacedAndItsRequestsGoOn) {
  start(options());
  submit();
  play(1, 0, false);
  ASSERT_EQ(launcher_.running.size(), 1u);
  launcher_.finish(0, "signal 9");
  play(4);
  EXPECT_EQ(ended_, 1u);
  EXPECT_TRUE(says("\"last_error\":\"signal 9\"")) << pool_->scaling();
  EXPECT_TRUE(says("\"failures\":1"));
}

TEST_F(PoolScalerTest, OneThatCannotBeReachedIsKilled) {
  start(options());
  submit();
  play(1, 0, false);
  launcher_.running.at(0)->is_up = false;
  play(10);
  EXPECT_TRUE(says("\"last_error\":\"signal 9\"")) << pool_->scaling();
}

TEST_F(PoolScalerTest, ALauncherThatFailsIsSaidAndTriedAgain) {
  launcher_.is_broken = true;
  start(options());
  submit();
  play(5);
  EXPECT_TRUE(says("\"last_error\":\"no such program\"")) << pool_->scaling();
  EXPECT_TRUE(says("the next start is tried in")) << pool_->scaling();
  EXPECT_EQ(ended_, 0u);
  launcher_.is_broken = false;
  play(10);
  EXPECT_EQ(ended_, 1u) << "it was kept";
}

TEST_F(PoolScalerTest, SettingsChangeWhileItRuns) {
  start(options());
  play(2);
  ScalerOptions more = options();
  more.scale.replicas_min = 2;
  more.replicas.warm = 1;
  scaler_->set_settings(more.scale, more.replicas);
  play(1);
  EXPECT_EQ(launcher_.running.size(), 3u);
  EXPECT_TRUE(says("\"ready_replicas\":2")) << pool_->scaling();
  EXPECT_TRUE(says("\"warm_replicas\":1"));
}

TEST_F(PoolScalerTest, WithoutALauncherItOnlySays) {
  start(options(), false);
  submit();
  play(1);
  EXPECT_TRUE(says("\"desired_replicas\":1")) << pool_->scaling();
  EXPECT_TRUE(says("\"launches\":false"));
  EXPECT_EQ(ended_, 0u);
  // Somebody has read that, and a node has announced itself.
  std::shared_ptr<HeldSupplier> node = std::make_shared<HeldSupplier>();
  pool_->join({{.name = "pod-1"}, node});
  play(1, 0, false);
  ASSERT_EQ(node->held.size(), 1u);
  EXPECT_TRUE(says("\"ready_replicas\":1")) << pool_->scaling();
}

}  // namespace
}  // namespace tg::dispatch
