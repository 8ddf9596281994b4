// An engine that rests: it ends when nobody asks, comes back for the next request, and whoever
// waits for it, is cancelled meanwhile or is refused by it hears of exactly one end.
#include "node/resting_engine.h"

#include <gtest/gtest.h>

#include <map>

namespace tg::node {
namespace {

constexpr i64 kMs = 1'000'000;

// Answers at once, or when told; what has become of all of them is in a book.
struct Book {
  std::atomic<i64> started = 0, ended = 0, answered = 0;
  std::atomic<bool> holds = false;    // requests stay open
  std::atomic<bool> refuses = false;  // submit() does
  std::mutex mutex;
  std::vector<i64> funded;  // funded_tokens as submitted
};

class FakeEngine final : public LocalEngine {
 public:
  explicit FakeEngine(Book& book) : book_(book) { ++book_.started; }
  ~FakeEngine() override {
    for (fleet::SupplyRequest& request : held_) finish(request, fleet::FinishReason::kCancelled);
    ++book_.ended;
  }
  Status submit(fleet::SupplyRequest request) override {
    if (book_.refuses) return Error{Code::kInvalid, "too long"};
    std::lock_guard lock(mutex_);
    {
      std::lock_guard book_lock(book_.mutex);
      book_.funded.push_back(request.funded_tokens);
    }
    held_.push_back(std::move(request));
    if (!book_.holds) answer();
    return {};
  }
  void cancel(u64 id) override {
    std::lock_guard lock(mutex_);
    std::erase_if(held_, [&](fleet::SupplyRequest& request) {
      if (request.id != id) return false;
      finish(request, fleet::FinishReason::kCancelled);
      return true;
    });
  }
  fleet::SupplierLoad load() const override {
    return {.kv_pages_total = 10, .kv_pages_free = 4, .output_tokens = tokens_};
  }
  const std::string& device_name() const override { return name_; }
  i64 context_max() const override { return 99; }
  i64 open() const override {
    std::lock_guard lock(mutex_);
    return static_cast<i64>(held_.size());
  }

 private:
  void answer() {
    for (fleet::SupplyRequest& request : held_) {
      ++tokens_;
      ++book_.answered;
      finish(request, fleet::FinishReason::kStop);
    }
    held_.clear();
  }
  static void finish(fleet::SupplyRequest& request, fleet::FinishReason reason) {
    fleet::SupplierEvent event;
    event.request = request.id;
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason = reason;
    EXPECT_TRUE(request.events->try_push(event));
  }

  Book& book_;
  const std::string name_ = "fake";
  mutable std::mutex mutex_;
  std::vector<fleet::SupplyRequest> held_;
  std::atomic<u64> tokens_ = 0;
};

class RestingEngineTest : public testing::Test {
 protected:
  void start(i64 idle_ms, i64 waiting_max = 100) {
    RestingEngine::Start make = [this]() -> Result<std::unique_ptr<LocalEngine>> {
      std::lock_guard lock(starting_);
      if (is_broken_) return Error{Code::kUnavailable, "no memory"};
      return std::unique_ptr<LocalEngine>(std::make_unique<FakeEngine>(book_));
    };
    engine_ =
        RestingEngine::start(make, {.idle_ns = idle_ms * kMs, .waiting_max = waiting_max}, clock_)
            .value();
  }
  fleet::SupplyRequest request(u64 id) {
    fleet::SupplyRequest out;
    out.id = id;
    out.prompt = {1};
    out.max_tokens = 1;
    out.events = mailbox_;
    return out;
  }
  // The ends of so many requests, by id.
  std::map<u64, fleet::SupplierEvent> ends(std::size_t count) {
    std::map<u64, fleet::SupplierEvent> out;
    for (int i = 0; i < 1'000 && out.size() < count; ++i) {
      std::vector<fleet::SupplierEvent> events;
      mailbox_->wait(events, 10 * kMs);
      for (fleet::SupplierEvent& event : events)
        EXPECT_TRUE(out.emplace(event.request, event).second) << "two ends of " << event.request;
    }
    EXPECT_EQ(out.size(), count);
    return out;
  }
  bool rests_within(i64 ms) {
    for (i64 i = 0; i < ms; ++i) {
      if (engine_->load().is_resting) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  SystemClock clock_;
  Book book_;
  std::mutex starting_;  // held: an engine takes its time to start
  std::atomic<bool> is_broken_ = false;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox_ =
      std::make_shared<Mailbox<fleet::SupplierEvent>>(10'000);
  std::unique_ptr<RestingEngine> engine_;
};

TEST_F(RestingEngineTest, EndsWhenIdleAndComesBackForTheNext) {
  start(20);
  EXPECT_EQ(engine_->device_name(), "fake");
  EXPECT_EQ(engine_->context_max(), 99);
  EXPECT_FALSE(engine_->load().is_resting);
  ASSERT_TRUE(engine_->submit(request(1)).ok());
  EXPECT_EQ(ends(1).at(1).reason, fleet::FinishReason::kStop);
  ASSERT_TRUE(rests_within(5'000));
  EXPECT_EQ(book_.started, 1);
  EXPECT_EQ(engine_->load().output_tokens, 1u);
  EXPECT_EQ(engine_->load().kv_pages_free, 10);
  ASSERT_TRUE(engine_->submit(request(2)).ok());
  EXPECT_EQ(ends(1).at(2).reason, fleet::FinishReason::kStop);
  EXPECT_EQ(book_.started, 2);
  EXPECT_EQ(engine_->load().output_tokens, 2u);
  ASSERT_TRUE(rests_within(5'000));
  EXPECT_EQ(engine_->load().output_tokens, 2u);
}

TEST_F(RestingEngineTest, NeverEndsUnderAnOpenRequest) {
  book_.holds = true;
  start(5);
  ASSERT_TRUE(engine_->submit(request(1)).ok());
  EXPECT_FALSE(rests_within(100));
  EXPECT_EQ(engine_->open(), 1);
  engine_->cancel(1);
  EXPECT_EQ(ends(1).at(1).reason, fleet::FinishReason::kCancelled);
  EXPECT_TRUE(rests_within(5'000));
}

TEST_F(RestingEngineTest, WhoWaitsForItCanBeCancelledExtendedAndRefused) {
  start(5, 2);
  ASSERT_TRUE(rests_within(5'000));
  book_.holds = true;
  std::unique_lock starting(starting_);
  ASSERT_TRUE(engine_->submit(request(1)).ok());
  ASSERT_TRUE(engine_->submit(request(2)).ok());
  EXPECT_EQ(engine_->submit(request(3)).error().code, Code::kUnavailable);
  EXPECT_EQ(engine_->open(), 2);
  EXPECT_EQ(engine_->load().waiting, 2);
  engine_->cancel(1);
  engine_->cancel(7);
  EXPECT_EQ(ends(1).at(1).reason, fleet::FinishReason::kCancelled);
  EXPECT_TRUE(engine_->extend(2, 50, false).ok());
  EXPECT_TRUE(engine_->extend(2, 40, true).ok());
  starting.unlock();
  while (engine_->load().is_resting) std::this_thread::yield();
  EXPECT_EQ(book_.funded, (std::vector<i64>{50}));
  engine_.reset();
  EXPECT_EQ(ends(1).at(2).reason, fleet::FinishReason::kCancelled);
}

TEST_F(RestingEngineTest, WhatGoesWrongWhenItWakesIsEachRequestsEnd) {
  start(5);
  ASSERT_TRUE(rests_within(5'000));
  is_broken_ = true;
  ASSERT_TRUE(engine_->submit(request(1)).ok());
  fleet::SupplierEvent end = ends(1).at(1);
  EXPECT_EQ(end.reason, fleet::FinishReason::kError);
  EXPECT_EQ(end.fault, fleet::Fault::kBusy);
  EXPECT_EQ(end.error, "no memory");
  EXPECT_TRUE(engine_->load().is_resting);
  is_broken_ = false;
  book_.refuses = true;
  ASSERT_TRUE(engine_->submit(request(2)).ok());
  end = ends(1).at(2);
  EXPECT_EQ(end.fault, fleet::Fault::kInvalid);
  EXPECT_EQ(end.error, "too long");
}

TEST_F(RestingEngineTest, ThatIsTakenDownWhileRestingEndsWhatWaits) {
  start(5);
  ASSERT_TRUE(rests_within(5'000));
  is_broken_ = true;
  {
    std::unique_lock starting(starting_);
    ASSERT_TRUE(engine_->submit(request(1)).ok());
    ASSERT_TRUE(engine_->submit(request(2)).ok());
  }
  engine_.reset();
  ends(2);
}

TEST_F(RestingEngineTest, ManyAskWhileItComesAndGoes) {
  constexpr u64 kThreads = 4, kEach = 150;
  start(1);
  std::vector<std::thread> askers;
  for (u64 t = 0; t < kThreads; ++t) {
    askers.emplace_back([&, t] {
      for (u64 i = 0; i < kEach; ++i) {
        EXPECT_TRUE(engine_->submit(request(t * kEach + i)).ok());
        if (i % 7 == 0) engine_->cancel(t * kEach + i);
        std::this_thread::sleep_for(std::chrono::microseconds(i % 5 * 1'000));
      }
    });
  }
  for (std::thread& asker : askers) asker.join();
  ends(kThreads * kEach);
  engine_.reset();
  EXPECT_EQ(book_.started, book_.ended);
  EXPECT_GT(book_.started, 1);
}

// Two engines, of which memory holds one.
class RestingGroupTest : public RestingEngineTest {
 protected:
  std::unique_ptr<RestingEngine> member(i64 room_wait_ms = 60'000) {
    RestingEngine::Start make = [this]() -> Result<std::unique_ptr<LocalEngine>> {
      if (book_.started > book_.ended) return Error{Code::kUnavailable, "no room"};
      return std::unique_ptr<LocalEngine>(std::make_unique<FakeEngine>(book_));
    };
    return RestingEngine::start(make,
                                {.idle_ns = 60'000 * kMs,
                                 .waiting_max = 10,
                                 .group = group_,
                                 .room_wait_ns = room_wait_ms * kMs},
                                clock_)
        .value();
  }
  std::shared_ptr<RestingGroup> group_ = std::make_shared<RestingGroup>();
};

TEST_F(RestingGroupTest, OneThatIsIdleMakesRoomForTheOther) {
  std::unique_ptr<RestingEngine> one = member(), other = member();
  EXPECT_TRUE(one->load().is_resting);
  EXPECT_FALSE(other->load().is_resting);
  for (u64 id = 0; id < 6; ++id) {
    ASSERT_TRUE((id % 2 == 0 ? one : other)->submit(request(id)).ok());
    EXPECT_EQ(ends(1).at(id).reason, fleet::FinishReason::kStop);
    EXPECT_LE(book_.started - book_.ended, 1);
  }
  EXPECT_EQ(book_.started, 8);
}

TEST_F(RestingGroupTest, WaitsForOneThatIsBusyAndNotForEver) {
  std::unique_ptr<RestingEngine> one = member(700), other = member();
  book_.holds = true;
  ASSERT_TRUE(other->submit(request(1)).ok());
  ASSERT_TRUE(one->submit(request(2)).ok());
  fleet::SupplierEvent end = ends(1).at(2);
  EXPECT_EQ(end.fault, fleet::Fault::kBusy);
  EXPECT_EQ(end.error, "no room");
  ASSERT_TRUE(one->submit(request(3)).ok());
  book_.holds = false;
  other->cancel(1);
  std::map<u64, fleet::SupplierEvent> both = ends(2);
  EXPECT_EQ(both.at(1).reason, fleet::FinishReason::kCancelled);
  EXPECT_EQ(both.at(3).reason, fleet::FinishReason::kStop);
}

}  // namespace
}  // namespace tg::node
