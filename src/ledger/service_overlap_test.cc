// A group that is decided while the one before it is on its way to the disk: it is answered after
// that one, it falls with that one, and nothing it was decided on is ever shown before it is
// durable.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "base/log.h"
#include "env/random.h"
#include "env/seed_testing.h"
#include "env/simulated_file_testing.h"
#include "ledger/ledger_testing.h"
#include "ledger/log_store.h"
#include "ledger/passing_store_testing.h"
#include "ledger/service.h"

namespace tg::ledger {
namespace {

class StoppedClock final : public Clock {
 public:
  Timestamp now() override { return Timestamp{1'767'225'600'000'000'000}; }
  i64 monotonic_ns() override { return 0; }
};

// A log whose syncs can be held up and told to fail.
class GatedStore final : public PassingStore {
 public:
  struct Gate {
    std::atomic<bool> is_shut{false};
    std::atomic<bool> is_failing{false};
    std::atomic<i64> staged{0};
    std::atomic<i64> synced{0};
  };
  GatedStore(std::unique_ptr<Store> store, Gate& gate)
      : PassingStore(std::move(store)), gate_(gate) {}
  void stage(const Effects& effects, std::span<DocumentWrite> documents) override {
    PassingStore::stage(effects, documents);
    ++gate_.staged;
  }
  Status sync() override {
    while (gate_.is_shut) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (gate_.is_failing) return Error{Code::kIo, "the disk is gone"};
    TG_TRY(PassingStore::sync());
    ++gate_.synced;
    return {};
  }

 private:
  Gate& gate_;
};

class ServiceOverlap : public testing::Test {
 protected:
  static constexpr i64 kLarge = 4;

  ServiceOverlap() : medium_(1) {
    AppendFile file = std::move(AppendFile::over(medium_.open())).value();
    std::unique_ptr<Store> store =
        std::make_unique<GatedStore>(LogStore::over(std::move(file)), gate_);
    service_ = std::move(Service::open(std::move(store), clock_,
                                       {.group_transfers_max = kLarge,
                                        .overlap_transfers_min = kLarge,
                                        .tick_ns = 1'000'000}))
                   .value();
    Request accounts;
    accounts.accounts = {test_account(1), test_account(2)};
    EXPECT_TRUE(service_->execute(accounts).succeeded());
  }
  ~ServiceOverlap() override { gate_.is_shut = false; }

  // `count` transfers of 1 from account 1 to account 2, ids from `first` on.
  void submit(u64 first, i64 count, std::vector<Document> documents = {}) {
    Request request{.tag = first, .documents = std::move(documents)};
    for (i64 i = 0; i < count; ++i)
      request.transfers.push_back(test_transfer(first + static_cast<u64>(i), 1, 2, 1));
    ASSERT_TRUE(service_->submit(request, replies_));
  }
  void await(const std::atomic<i64>& number, i64 wanted) {
    while (number < wanted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<Reply> take(std::size_t count) {
    std::vector<Reply> got;
    while (got.size() < count) replies_->wait(got, 1'000'000'000);
    return got;
  }
  // The gate is shut and one large group, ids 10 to 13, waits behind it.
  void hold_one_up() {
    gate_.is_shut = true;
    gate_.staged = gate_.synced = 0;
    submit(10, kLarge, {{.id = 7, .bytes = "receipt"}});
    await(gate_.staged, 1);
  }
  bool hears_nothing() {
    std::vector<Reply> got;
    replies_->wait(got, 20'000'000);
    return got.empty();
  }

  StoppedClock clock_;
  SimulatedMedium medium_;
  GatedStore::Gate gate_;
  std::shared_ptr<Mailbox<Reply>> replies_ = std::make_shared<Mailbox<Reply>>(100);
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceOverlap, TheNextGroupIsDecidedWhileOneIsOnItsWay) {
  hold_one_up();
  submit(20, kLarge);
  await(gate_.staged, 2);
  EXPECT_EQ(gate_.synced, 0);
  EXPECT_TRUE(hears_nothing());
  gate_.is_shut = false;
  std::vector<Reply> got = take(2);
  EXPECT_EQ(got[0].tag, 10u);
  EXPECT_EQ(got[1].tag, 20u);
  for (const Reply& reply : got) EXPECT_TRUE(reply.succeeded()) << reply.failure();
  EXPECT_TRUE(service_->find_account(2).value()->credits_posted == 2 * kLarge);
  Result<AuditReport> audit = service_->audit();
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  EXPECT_EQ(audit->journal_entries, 2u * kLarge);
}

TEST_F(ServiceOverlap, TwoGroupsAreReadyBehindTheDisk) {
  hold_one_up();
  submit(20, kLarge, {{.id = 8, .bytes = "receipt"}});
  await(gate_.staged, 2);
  // What it finds of both is in neither file nor answer yet.
  submit(30, kLarge, {{.id = 7, .bytes = "receipt"}, {.id = 8, .bytes = "other"}});
  await(gate_.staged, 3);
  EXPECT_EQ(gate_.synced, 0);
  EXPECT_TRUE(hears_nothing());
  gate_.is_shut = false;
  std::vector<Reply> got = take(3);
  for (u64 i = 0; i < 3; ++i) EXPECT_EQ(got[i].tag, 10 * (i + 1));
  EXPECT_EQ(got[2].documents[0], DocumentStatus::kExists);
  EXPECT_EQ(got[2].documents[1], DocumentStatus::kExistsWithDifferentBytes);
  EXPECT_EQ(service_->read_document(8).value(), "receipt");
  EXPECT_EQ(service_->audit().value().journal_entries, 3u * kLarge);
}

TEST_F(ServiceOverlap, WhatGathersMeanwhileIsOneGroup) {
  hold_one_up();
  for (u64 first : {20, 21, 22}) submit(first, 1);
  EXPECT_TRUE(hears_nothing());
  gate_.is_shut = false;
  EXPECT_EQ(take(4).back().tag, 22u);
  EXPECT_EQ(gate_.synced, 2);
}

TEST_F(ServiceOverlap, ARetryAndAReadWaitForWhatTheyFind) {
  hold_one_up();
  // It changes nothing, yet what it says exists is not on the disk.
  submit(10, 1, {{.id = 7, .bytes = "receipt"}, {.id = 7, .bytes = "other"}});
  std::atomic<bool> has_read{false};
  std::thread reader([&] {
    EXPECT_TRUE(service_->find_transfer(11).value().has_value());
    has_read = true;
  });
  EXPECT_TRUE(hears_nothing());
  EXPECT_FALSE(has_read);
  gate_.is_shut = false;
  reader.join();
  std::vector<Reply> got = take(2);
  EXPECT_EQ(got[1].transfers[0], TransferStatus::kExists);
  EXPECT_EQ(got[1].documents[0], DocumentStatus::kExists);
  EXPECT_EQ(got[1].documents[1], DocumentStatus::kExistsWithDifferentBytes);
}

TEST_F(ServiceOverlap, WhatWasDecidedOnAFailedCommitFallsWithIt) {
  hold_one_up();
  for (u64 first : {20, 40}) submit(first, kLarge);
  await(gate_.staged, 3);
  submit(10, 1);
  gate_.is_failing = true;
  gate_.is_shut = false;
  for (const Reply& reply : take(4)) {
    ASSERT_TRUE(reply.error.has_value()) << reply.tag;
    EXPECT_EQ(reply.error->message, "the disk is gone");
    EXPECT_TRUE(reply.transfers.empty());
  }
  gate_.is_failing = false;
  EXPECT_FALSE(service_->is_healthy());
  EXPECT_FALSE(service_->find_account(2).ok());
  submit(30, kLarge);
  EXPECT_TRUE(take(1)[0].error.has_value());
  EXPECT_EQ(gate_.synced, 0);
}

TEST_F(ServiceOverlap, StoppingAnswersWhatIsOnItsWayAndWhatGathered) {
  hold_one_up();
  submit(20, kLarge);
  submit(30, 1);
  std::thread stopper([&] { service_->stop(); });
  EXPECT_TRUE(hears_nothing());
  gate_.is_shut = false;
  stopper.join();
  std::vector<Reply> got;
  replies_->drain(got);
  ASSERT_EQ(got.size(), 3u);
  for (const Reply& reply : got) EXPECT_TRUE(reply.succeeded()) << reply.failure();
}

Request hold_of(u64 id, u128 debit, u128 credit) {
  Request request{.tag = id, .is_provisional = true};
  request.transfers = {test_transfer(id, debit, credit, 1, transfer_flag::kPending)};
  request.transfers[0].code = transfer_code::kHold;
  request.lookups = {debit};
  return request;
}

TEST_F(ServiceOverlap, AHoldIsAnsweredWhenItIsDecidedIfNobodyWantsMore) {
  gate_.is_shut = true;
  gate_.staged = gate_.synced = 0;
  Request hold = hold_of(50, 1, 2);
  ASSERT_TRUE(service_->submit(hold, replies_));
  std::vector<Reply> got = take(1);
  EXPECT_TRUE(got[0].succeeded()) << got[0].failure();
  EXPECT_TRUE(got[0].lookups[0]->debits_pending == 1);
  EXPECT_EQ(gate_.synced, 0);
  // The tick sees to it that it becomes durable, and the answer is not given again.
  gate_.is_shut = false;
  await(gate_.synced, 1);
  EXPECT_TRUE(hears_nothing());
  EXPECT_EQ(service_->pending_state(50).value(), PendingState::kPending);
  EXPECT_EQ(service_->audit().value().journal_entries, 1u);
}

TEST_F(ServiceOverlap, WhatFollowsAProvisionalHoldWaitsForBoth) {
  gate_.is_shut = true;
  Request hold = hold_of(50, 1, 2);
  ASSERT_TRUE(service_->submit(hold, replies_));
  EXPECT_TRUE(take(1)[0].succeeded());
  Request post{.tag = 51};
  post.transfers = {{.id = 51,
                     .amount = 1,
                     .pending_id = 50,
                     .code = transfer_code::kPostSlice,
                     .flags = transfer_flag::kPostPending}};
  ASSERT_TRUE(service_->submit(post, replies_));
  EXPECT_TRUE(hears_nothing());
  gate_.is_shut = false;
  EXPECT_TRUE(take(1)[0].succeeded());
  EXPECT_EQ(service_->audit().value().journal_entries, 2u);
}

TEST_F(ServiceOverlap, OnlyHoldsAreProvisional) {
  Request more = hold_of(50, 1, 2);
  more.documents = {{.id = 9, .bytes = "receipt"}};
  Request transfer{.tag = 51, .is_provisional = true};
  transfer.transfers = {test_transfer(51, 1, 2, 1)};
  for (Request& request : std::array{more, transfer}) {
    Reply reply = service_->execute(request);
    ASSERT_TRUE(reply.error.has_value());
    EXPECT_EQ(reply.error->message, "ledger: a provisional request does more than hold");
  }
  EXPECT_EQ(service_->audit().value().journal_entries, 0u);
}

TEST_F(ServiceOverlap, TheQueueFillsBehindADiskThatStandsStill) {
  service_.reset();
  AppendFile file = std::move(AppendFile::over(medium_.open())).value();
  std::unique_ptr<Store> store =
      std::make_unique<GatedStore>(LogStore::over(std::move(file)), gate_);
  service_ = std::move(Service::open(std::move(store), clock_,
                                     {.queue_requests_max = 5, .overlap_transfers_min = 1}))
                 .value();
  gate_.is_shut = true;
  u64 accepted = 0;
  for (int refused = 0; refused < 20;) {
    Request request;
    request.transfers = {test_transfer(100 + accepted, 1, 2, 1)};
    bool is_taken = service_->submit(request, replies_);
    accepted += is_taken ? 1 : 0;
    refused += is_taken ? 0 : 1;
    if (!is_taken) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_LT(accepted, 50u);
  }
  gate_.is_shut = false;
  for (const Reply& reply : take(accepted)) EXPECT_TRUE(reply.succeeded()) << reply.failure();
}

// A client that keeps several requests under way, some of them retries, on a disk that fails; then
// the power goes. What was acknowledged is there, whole, and the books balance.
class Client {
 public:
  explicit Client(u64 seed) : random_(seed) {}

  void run(Service& service, i64 requests) {
    std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(kUnderWay);
    i64 under_way = 0;
    for (i64 sent = 0; sent < requests || under_way > 0;) {
      for (; under_way < kUnderWay && sent < requests; ++under_way, ++sent) {
        Request request = next();
        ASSERT_TRUE(service.submit(request, replies));
      }
      std::vector<Reply> got;
      replies->wait(got, 1'000'000'000);
      under_way -= static_cast<i64>(got.size());
      for (const Reply& reply : got) note(reply);
    }
  }
  // Transfers in each acknowledged request, by their first id.
  const std::map<u64, u64>& acknowledged() const { return acknowledged_; }

 private:
  static constexpr i64 kUnderWay = 6;

  Request next() {
    bool is_retry = !sent_.empty() && random_.below(4) == 0;
    u64 back = is_retry ? random_.below(std::min<u64>(sent_.size(), 4)) : 0;
    if (!is_retry) sent_.push_back({last_ + 1, 1 + random_.below(5)});
    auto [first, count] = sent_[sent_.size() - 1 - back];
    if (!is_retry) last_ += count;
    Request request{.tag = first};
    for (u64 i = 0; i < count; ++i) {
      u16 linked = i + 1 < count ? transfer_flag::kLinked : u16{0};
      request.transfers.push_back(test_transfer(first + i, 1, 2, 1, linked));
    }
    if (!is_retry) request.documents = {{.id = first, .bytes = std::to_string(first)}};
    sizes_[first] = count;
    return request;
  }
  void note(const Reply& reply) {
    if (reply.error.has_value()) return;
    ASSERT_TRUE(reply.succeeded()) << reply.failure();
    acknowledged_[reply.tag] = sizes_[reply.tag];
  }

  SeededRandom random_;
  u64 last_ = 0;
  std::vector<std::pair<u64, u64>> sent_;
  std::map<u64, u64> sizes_;
  std::map<u64, u64> acknowledged_;
};

std::unique_ptr<LogStore> store_on(SimulatedMedium& medium) {
  return LogStore::over(std::move(AppendFile::over(medium.open(), 8'192)).value());
}

// Returns how many requests the client believed.
u64 live_and_die(u64 seed) {
  SimulatedMedium medium(seed);
  StoppedClock clock;
  Client client(seed);
  {
    std::unique_ptr<Service> service =
        std::move(Service::open(store_on(medium), clock,
                                {.group_transfers_max = 8, .overlap_transfers_min = 3}))
            .value();
    Request accounts;
    accounts.accounts = {test_account(1), test_account(2)};
    EXPECT_TRUE(service->execute(accounts).succeeded());
    medium.set_faults({.short_write = 4, .write_error = 4, .sync_error = 8, .power_cut = 16});
    client.run(*service, 60);
  }
  medium.set_faults({});
  medium.cut_power();
  std::unique_ptr<Service> service = std::move(Service::open(store_on(medium), clock)).value();
  for (auto [first, count] : client.acknowledged()) {
    for (u64 i = 0; i < count; ++i)
      EXPECT_TRUE(service->find_transfer(first + i).value().has_value()) << first + i;
    EXPECT_EQ(service->read_document(first).value(), std::to_string(first));
  }
  AuditReport report = service->audit().value();
  EXPECT_TRUE(service->find_account(2).value()->credits_posted == report.journal_entries);
  return client.acknowledged().size();
}

TEST(LedgerProperty, WhatAnOverlappingServiceAcknowledgedIsThere) {
  set_log_level(LogLevel::kOff);
  u64 believed = 0;
  constexpr u64 kSeeds = 300;
  for (u64 seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    believed += live_and_die(seed);
    if (testing::Test::HasFailure()) break;
  }
  set_log_level(LogLevel::kInfo);
  // Most lives must end by a fault, and not at once.
  EXPECT_GT(believed, kSeeds * 5);
  EXPECT_LT(believed, kSeeds * 45);
}

}  // namespace
}  // namespace tg::ledger
