// Leases as they run: what is asked for is brought, what is spent is settled, a network that is
// silent keeps nobody waiting, and what is not used goes back.
#include "ledger/lease_service.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/log.h"
#include "ledger/lease_testing.h"
#include "ledger/ledger_testing.h"

namespace tg::ledger {
namespace {

constexpr u128 kBuyer = 10;
constexpr u128 kWash = 11;
constexpr u128 kPayee = 12;
constexpr u128 kBundle = 14;  // The buyer's too.
constexpr u32 kTimeoutMs = 4'000;

bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 1'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class LeaseServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kOff);
    shared_ =
        std::move(Service::open(std::make_unique<FarStore>(store_on(shared_disk_), link_), clock_))
            .value();
    Request request;
    request.accounts = {test_account(kBuyer, account_flag::kDebitsMustNotExceedCredits),
                        test_account(kWash), test_account(kPayee),
                        test_account(kBundle, account_flag::kDebitsMustNotExceedCredits)};
    request.accounts[3].owner = kBuyer;
    request.transfers = {test_transfer(1, kWash, kBuyer, 10'000),
                         test_transfer(2, kWash, kBundle, 600)};
    ASSERT_TRUE(shared_->execute(request).succeeded());
    start();
  }
  void TearDown() override {
    link_.hangs = false;
    leases_.reset();
    set_log_level(LogLevel::kInfo);
  }

  void start() {
    own_ = std::move(Service::open(store_on(own_disk_), clock_)).value();
    LeaseServiceOptions options{.terms = {{ledgers::kMoney, {.payee = kPayee, .amount = 1'000}}},
                                .timeout_ms = kTimeoutMs};
    leases_ = std::move(LeaseService::start(*own_, *shared_, clock_, options)).value();
  }
  void stop() {
    leases_.reset();
    own_.reset();
  }
  Reply look_up(u128 least, std::vector<u128> accounts = {kBuyer}) {
    std::shared_ptr<Mailbox<Reply>> mailbox = std::make_shared<Mailbox<Reply>>(1);
    Request request{.tag = 7, .lookups = std::move(accounts)};
    EXPECT_TRUE(leases_->submit(request, least, mailbox));
    std::vector<Reply> replies;
    mailbox->wait(replies, 2 * kLeasePatienceNs);
    if (replies.empty()) return {.error = Error{Code::kInvalid, "no answer"}};
    EXPECT_EQ(replies[0].tag, 7u);
    return replies[0];
  }
  bool spend(u128 amount) {
    Request request;
    u128 id = time_ordered_id(clock_.now(), random_);
    request.transfers = {test_transfer(id, kBuyer, kPayee, amount, transfer_flag::kPending),
                         {.id = time_ordered_id(clock_.now(), random_),
                          .amount = amount,
                          .pending_id = id,
                          .code = transfer_code::kPostSlice,
                          .flags = transfer_flag::kPostPending}};
    request.transfers[0].flags |= transfer_flag::kLinked;
    return own_->execute(request).succeeded();
  }
  Account there(u128 account = kBuyer) { return shared_->find_account(account).value().value(); }
  u128 free_here() { return available(own_->find_account(kBuyer).value().value()); }

  SystemClock clock_;
  OsRandom random_;
  Link link_;
  SimulatedMedium shared_disk_{1};
  SimulatedMedium own_disk_{2};
  std::unique_ptr<Service> shared_;
  std::unique_ptr<Service> own_;
  std::unique_ptr<LeaseService> leases_;
};

TEST_F(LeaseServiceTest, WhoAsksGetsWhatIsWantedAndHearsOfWhatElseIsTheirs) {
  Reply reply = look_up(50);
  ASSERT_TRUE(reply.succeeded()) << reply.failure();
  ASSERT_EQ(reply.lookups.size(), 2u);
  EXPECT_EQ(reply.lookups[0]->id, kBuyer);
  EXPECT_EQ(available(*reply.lookups[0]), 1'000u);
  EXPECT_EQ(reply.lookups[1]->id, kBundle);
  EXPECT_EQ(reply.lookups[1]->owner, kBuyer);
  EXPECT_EQ(available(*reply.lookups[1]), 300u);
  EXPECT_EQ(there().debits_pending, 1'000u);
  // More than half of what is left, if one request needs that.
  reply = look_up(9'900);
  EXPECT_EQ(available(*reply.lookups[0]), 9'900u);
}

TEST_F(LeaseServiceTest, AnAccountThatIsNotThereIsNone) {
  Reply reply = look_up(50, {99});
  ASSERT_TRUE(reply.succeeded()) << reply.failure();
  EXPECT_FALSE(reply.lookups[0].has_value());
  // Made a moment later, it is found.
  Request request;
  request.accounts = {test_account(99, account_flag::kDebitsMustNotExceedCredits)};
  request.transfers = {test_transfer(3, kWash, 99, 70)};
  ASSERT_TRUE(shared_->execute(request).succeeded());
  EXPECT_EQ(available(*look_up(50, {99}).lookups[0]), 50u);
}

TEST_F(LeaseServiceTest, ToBeKnownNothingIsLeased) {
  std::optional<Account> known = leases_->ask(kBuyer, LeaseUse::kKnow).value();
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(available(*known), 0u);
  EXPECT_EQ(there().debits_pending, 0u);
}

TEST_F(LeaseServiceTest, WhatIsSpentHereIsSettledThereAndGrowsAhead) {
  ASSERT_TRUE(look_up(50).succeeded());
  i64 asked = link_.passes;
  int asks = 0;
  for (int i = 0; i < 60; ++i) {
    if (!spend(20)) {
      ++asks;
      ASSERT_TRUE(look_up(20).succeeded());
      ASSERT_TRUE(spend(20));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  // It is there before it is needed, unless the machine is very busy; the shared ledger would have
  // been passed twice a request.
  EXPECT_LE(asks, 10);
  EXPECT_LT(link_.passes - asked, 60);
  EXPECT_TRUE(leases_->ask(kBuyer, LeaseUse::kSettle).ok());
  EXPECT_EQ(there().debits_posted, 1'200u);
  EXPECT_EQ(there(kPayee).credits_posted, 1'200u);
  // Then nobody uses it, and it goes back.
  EXPECT_TRUE(comes_true([&] { return there().debits_pending == 0; }));
  EXPECT_EQ(free_here(), 0u);
  EXPECT_EQ(there().debits_posted, 1'200u);
}

TEST_F(LeaseServiceTest, ASilentNetworkKeepsNobodyWaiting) {
  ASSERT_TRUE(look_up(50).succeeded());
  link_.hangs = true;
  i64 before_ns = clock_.monotonic_ns();
  // What is here is spent meanwhile; what is not is not waited for. That the lease is about to end
  // is seen to although the other thread hangs.
  std::thread asker([&] {
    Reply reply = look_up(5'000);
    ASSERT_TRUE(reply.error.has_value());
    EXPECT_EQ(reply.error->code, Code::kIo) << reply.error->message;
    EXPECT_LT(clock_.monotonic_ns() - before_ns, kLeasePatienceNs + 2 * kSecond);
  });
  EXPECT_TRUE(spend(100));
  EXPECT_TRUE(comes_true([&] { return free_here() == 0; }));
  EXPECT_LT(clock_.monotonic_ns() - before_ns, i64{kTimeoutMs} * 1'000'000);
  EXPECT_FALSE(spend(1));
  asker.join();
  link_.hangs = false;
  // The answer that comes now is to a lease that is about to end: what it brings may go again at
  // once, and whoever asks then asks anew. Exactly one of these is spent.
  ASSERT_TRUE(comes_true([&] { return look_up(50).succeeded() && spend(50); }));
  EXPECT_TRUE(leases_->ask(kBuyer, LeaseUse::kSettle).ok());
  EXPECT_EQ(there().debits_posted, 150u);
}

TEST_F(LeaseServiceTest, ANewProcessTakesUpWhatTheLastOneLeased) {
  ASSERT_TRUE(look_up(50).succeeded());
  ASSERT_TRUE(spend(70));
  link_.is_cut = true;
  stop();
  link_.is_cut = false;
  EXPECT_EQ(available(there()), 9'000u);
  start();
  // Nobody asks: it is settled and given back all the same.
  EXPECT_TRUE(comes_true([&] { return there().debits_pending == 0; }));
  EXPECT_EQ(there().debits_posted, 70u);
}

TEST_F(LeaseServiceTest, TheEndSettlesAndGivesBack) {
  ASSERT_TRUE(look_up(50).succeeded());
  ASSERT_TRUE(spend(70));
  stop();
  EXPECT_EQ(there().debits_pending, 0u);
  EXPECT_EQ(there().debits_posted, 70u);
  EXPECT_EQ(there(kBundle).debits_pending, 0u);
}

// A process that starts while the shared ledger is away serves what an earlier one leased, and no
// more; when it is there, all goes on.
TEST_F(LeaseServiceTest, StartsWhileTheSharedLedgerIsAway) {
  ASSERT_TRUE(look_up(50).succeeded());
  ASSERT_TRUE(spend(100));
  ASSERT_TRUE(comes_true([&] { return leases_->figures().ledgers[ledgers::kMoney].leased > 0; }));
  EXPECT_FALSE(leases_->figures().is_away);
  link_.is_cut = true;
  stop();
  shared_.reset();
  shared_ = std::move(Service::open(std::make_unique<FarStore>(store_on(shared_disk_), link_),
                                    clock_, {.may_be_away = true}))
                .value();
  EXPECT_FALSE(shared_->is_healthy());
  EXPECT_EQ(shared_->find_account(kBuyer).error().code, Code::kUnavailable);
  start();
  Reply reply = look_up(50);
  ASSERT_TRUE(reply.succeeded()) << reply.failure();
  EXPECT_EQ(available(*reply.lookups[0]), 900u);
  ASSERT_TRUE(spend(900));
  EXPECT_EQ(look_up(50).error.value().code, Code::kIo);
  ASSERT_TRUE(comes_true([&] { return leases_->figures().is_away; }));
  EXPECT_GT(leases_->figures().failures, 0u);
  link_.is_cut = false;
  ASSERT_TRUE(comes_true([&] { return look_up(50).succeeded(); }));
  ASSERT_TRUE(comes_true([&] { return there().debits_posted == 1'000; }));
  ASSERT_TRUE(comes_true([&] {
    LeaseFigures figures = leases_->figures();
    return !figures.is_away && figures.ledgers[ledgers::kMoney].unsettled == 0;
  }));
  EXPECT_EQ(leases_->figures().ledgers[ledgers::kMoney].lost, 0u);
  EXPECT_GT(leases_->figures().rounds, 0u);
}

}  // namespace
}  // namespace tg::ledger
