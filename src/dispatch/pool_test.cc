// Whose thread turns the pool: its own, or that of a loop that has borrowed the work.
#include "dispatch/pool.h"

#include <gtest/gtest.h>

namespace tg::dispatch {
namespace {

using fleet::SupplierEvent;

// Answers within submit(), on whatever thread that is.
class PromptSupplier final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest request) override {
    thread = std::this_thread::get_id();
    SupplierEvent tokens;
    tokens.request = request.id;
    tokens.tokens = {1, 2};
    EXPECT_TRUE(request.events->try_push(tokens));
    if (is_hanging) return {};
    SupplierEvent last;
    last.request = request.id;
    last.kind = SupplierEvent::Kind::kFinished;
    EXPECT_TRUE(request.events->try_push(last));
    return {};
  }
  void cancel(u64) override { ++cancels; }
  fleet::SupplierLoad load() const override { return {.context_max = 1'000}; }

  std::atomic<std::thread::id> thread;
  std::atomic<bool> is_hanging = false;
  std::atomic<i64> cancels = 0;
};

class PoolTest : public testing::Test {
 protected:
  PoolTest() {
    std::vector<PoolMember> members;
    members.push_back({{.name = "a"}, supplier_});
    pool_ = std::make_unique<Pool>(PoolSettings{}, std::move(members), clock_);
  }
  fleet::SupplyRequest request(u64 id) {
    fleet::SupplyRequest out;
    out.id = id;
    out.prompt = {1, 2, 3};
    out.max_tokens = 8;
    out.events = events_;
    return out;
  }
  // Events so far; waits for the pool's thread if told so.
  std::vector<SupplierEvent> take(i64 wait_ns = 0) {
    std::vector<SupplierEvent> out;
    if (wait_ns > 0) {
      events_->wait(out, wait_ns);
    } else {
      events_->drain(out);
    }
    return out;
  }

  SystemClock clock_;
  std::shared_ptr<PromptSupplier> supplier_ = std::make_shared<PromptSupplier>();
  std::shared_ptr<Mailbox<SupplierEvent>> events_ = std::make_shared<Mailbox<SupplierEvent>>(100);
  std::unique_ptr<Pool> pool_;
};

TEST_F(PoolTest, WhoBorrowsTheWorkDoesItOnItsThread) {
  std::vector<int> watched = pool_->borrow(nullptr);
  ASSERT_EQ(watched.size(), 2u);
  EXPECT_TRUE(pool_->borrow(nullptr).empty()) << "one at a time";
  ASSERT_TRUE(pool_->submit(request(7)).ok());
  EXPECT_TRUE(take().empty()) << "nobody has had a turn";
  pool_->turn(0);
  EXPECT_EQ(supplier_->thread.load(), std::this_thread::get_id());
  pool_->turn(2);
  std::vector<SupplierEvent> events = take();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].request, 7u);
  EXPECT_EQ(events[0].tokens, (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(events[1].kind, SupplierEvent::Kind::kFinished);
  EXPECT_EQ(events[1].usage.output_tokens, 2);
}

TEST_F(PoolTest, GivenBackItsThreadWorksAgain) {
  ASSERT_FALSE(pool_->borrow(nullptr).empty());
  ASSERT_TRUE(pool_->submit(request(1)).ok());
  pool_->give_back();
  std::vector<SupplierEvent> events;
  for (int i = 0; i < 100 && events.size() < 2; ++i) {
    for (SupplierEvent& event : take(50'000'000)) events.push_back(std::move(event));
  }
  ASSERT_EQ(events.size(), 2u) << "what was handed over to the borrower is not lost";
  EXPECT_NE(supplier_->thread.load(), std::this_thread::get_id());
}

TEST_F(PoolTest, EndsWhileItIsLent) {
  supplier_->is_hanging = true;
  ASSERT_FALSE(pool_->borrow(nullptr).empty());
  ASSERT_TRUE(pool_->submit(request(1)).ok());
  pool_->turn(0);
  ASSERT_TRUE(pool_->submit(request(2)).ok());
  pool_.reset();
  i64 ended = 0;
  for (const SupplierEvent& event : take()) {
    if (event.kind != SupplierEvent::Kind::kFinished) continue;
    EXPECT_EQ(event.reason, fleet::FinishReason::kCancelled);
    ++ended;
  }
  EXPECT_EQ(ended, 2);
  EXPECT_GE(supplier_->cancels.load(), 1);
}

}  // namespace
}  // namespace tg::dispatch
