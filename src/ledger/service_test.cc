// The service: durable before answered, all-or-nothing documents, expiry by tick, crash rule,
// refusal after a failed commit.
#include "ledger/service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "ledger/ledger_testing.h"
#include "ledger/sqlite_store.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

// A clock that a test moves while the writer reads it.
class TestClock final : public Clock {
 public:
  Timestamp now() override { return Timestamp{ns_.load()}; }
  i64 monotonic_ns() override { return ns_.load(); }
  void advance_ms(i64 ms) { ns_ += ms * 1'000'000; }

 private:
  std::atomic<i64> ns_{1'767'225'600'000'000'000};
};

// A store that keeps nothing and can be told to fail or to wait.
class MemoryStore final : public Store {
 public:
  struct Control {
    std::atomic<bool> is_failing{false};
    std::atomic<bool> is_blocked{false};
    std::atomic<i64> commits{0};
    std::atomic<u64> entries{0};
  };
  explicit MemoryStore(Control& control) : control_(control) {}
  Result<AuditReport> load(StateMachine&) override { return AuditReport{}; }
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override {
    while (control_.is_blocked) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (control_.is_failing) return Error{Code::kIo, "no space left on device"};
    ++control_.commits;
    control_.entries += effects.entries.size();
    for (DocumentWrite& write : documents) write.status = DocumentStatus::kOk;
    return {};
  }
  Result<std::string> read_document(u128) override { return Error{Code::kNotFound, "none"}; }
  Result<std::vector<StoredDocument>> documents_after(u64, i64) override {
    return std::vector<StoredDocument>();
  }
  Status check_medium() override { return {}; }

 private:
  Control& control_;
};

class ServiceTest : public testing::Test {
 protected:
  std::unique_ptr<Service> open_on_disk() {
    Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
    EXPECT_TRUE(store.ok()) << store.error().message;
    return open(std::move(store).value());
  }
  std::unique_ptr<Service> open_in_memory(ServiceOptions options = {}) {
    return open(std::make_unique<MemoryStore>(control_), options);
  }
  std::unique_ptr<Service> open(std::unique_ptr<Store> store, ServiceOptions options = {}) {
    options.tick_ns = 1'000'000;
    Result<std::unique_ptr<Service>> service = Service::open(std::move(store), clock_, options);
    EXPECT_TRUE(service.ok()) << service.error().message;
    return std::move(service).value();
  }
  static Request accounts_and_grant() {
    Request request{.tag = 1};
    request.accounts = {test_account(1),
                        test_account(2, account_flag::kDebitsMustNotExceedCredits)};
    request.transfers = {test_transfer(100, 1, 2, 1000)};
    return request;
  }
  static Request one(const Transfer& t) {
    Request request;
    request.transfers = {t};
    return request;
  }

  TestClock clock_;
  MemoryStore::Control control_;
  TemporaryFolder folder_;
};

TEST_F(ServiceTest, ExecutesAndReads) {
  std::unique_ptr<Service> service = open_on_disk();
  Request request = accounts_and_grant();
  request.lookups = {2, 3};
  request.documents = {{.id = 7, .bytes = "receipt"}};
  Reply reply = service->execute(request);
  EXPECT_TRUE(reply.succeeded()) << reply.failure();
  EXPECT_EQ(reply.tag, 1u);
  ASSERT_EQ(reply.lookups.size(), 2u);
  EXPECT_TRUE(available(*reply.lookups[0]) == 1000);
  EXPECT_FALSE(reply.lookups[1].has_value());
  EXPECT_TRUE(service->find_account(2).value()->credits_posted == 1000);
  EXPECT_FALSE(service->find_account(3).value().has_value());
  EXPECT_EQ(service->all_accounts().value().size(), 2u);
  EXPECT_TRUE(service->find_transfer(100).value()->amount == 1000);
  EXPECT_EQ(service->statement({.account = 2}).value().lines.size(), 1u);
  EXPECT_EQ(service->read_document(7).value(), "receipt");
  EXPECT_EQ(service->documents_after(0, 10).value().size(), 1u);
  Result<AuditReport> audit = service->audit();
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  EXPECT_EQ(audit->journal_entries, 1u);
  // The retry of all of it.
  Reply again = service->execute(request);
  EXPECT_TRUE(again.succeeded()) << again.failure();
  EXPECT_EQ(again.transfers[0], TransferStatus::kExists);
  EXPECT_EQ(again.documents[0], DocumentStatus::kExists);
}

TEST_F(ServiceTest, ADocumentIsStoredOnlyWithItsTransfers) {
  std::unique_ptr<Service> service = open_on_disk();
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  Request request;
  request.transfers = {test_transfer(1, 2, 1, 10, transfer_flag::kLinked),
                       test_transfer(2, 2, 1, 1000)};
  request.documents = {{.id = 7, .bytes = "receipt"}};
  Reply reply = service->execute(request);
  EXPECT_EQ(reply.failure(), "transfer 1: exceeds_credits");
  EXPECT_EQ(reply.transfers[0], TransferStatus::kLinkedEventFailed);
  EXPECT_EQ(reply.documents[0], DocumentStatus::kNotStored);
  EXPECT_EQ(service->read_document(7).error().code, Code::kNotFound);
  // A group in which one request's documents are stored and another's are not.
  request.transfers = {test_transfer(3, 2, 1, 10)};
  request.documents = {{.id = 8, .bytes = "eight"}, {.id = 9, .bytes = "nine"}};
  EXPECT_TRUE(service->execute(request).succeeded());
  request.documents[1].bytes = "changed";
  Reply changed = service->execute(request);
  EXPECT_EQ(changed.documents[0], DocumentStatus::kExists);
  EXPECT_EQ(changed.failure(), "document 1: exists_with_different_bytes");
  EXPECT_EQ(service->read_document(9).value(), "nine");
}

TEST_F(ServiceTest, ManyWritersShareCommits) {
  std::unique_ptr<Service> service = open_in_memory();
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  constexpr u64 kThreads = 4;
  constexpr u64 kEach = 500;
  std::atomic<u64> acknowledged{0};
  std::vector<std::thread> threads;
  for (u64 thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(kEach);
      for (u64 i = 0; i < kEach; ++i) {
        Request request = one(test_transfer(1'000 + thread * kEach + i, 1, 2, 1));
        request.tag = i;
        while (!service->submit(request, replies)) std::this_thread::yield();
      }
      std::vector<Reply> got;
      while (got.size() < kEach) replies->wait(got, 1'000'000'000);
      for (u64 i = 0; i < kEach; ++i) {
        EXPECT_EQ(got[i].tag, i);
        if (got[i].succeeded()) ++acknowledged;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(acknowledged, kThreads * kEach);
  EXPECT_EQ(control_.entries, kThreads * kEach + 1);
  EXPECT_TRUE(service->find_account(2).value()->credits_posted == 1000 + kThreads * kEach);
}

TEST_F(ServiceTest, NothingIsAnsweredBeforeItsCommit) {
  std::unique_ptr<Service> service = open_in_memory({.queue_requests_max = 2});
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  control_.is_blocked = true;
  std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(10);
  Request request = one(test_transfer(1, 2, 1, 1));
  ASSERT_TRUE(service->submit(request, replies));
  std::vector<Reply> got;
  replies->wait(got, 30'000'000);
  EXPECT_TRUE(got.empty());
  // The queue fills behind the waiting commit, and then says so without eating the request.
  u64 queued = 1;
  for (; queued < 10; ++queued) {
    request = one(test_transfer(1 + queued, 2, 1, 1));
    if (!service->submit(request, replies)) break;
  }
  EXPECT_LE(queued, 4u);
  EXPECT_EQ(request.transfers.size(), 1u);
  control_.is_blocked = false;
  while (got.size() < queued) replies->wait(got, 1'000'000'000);
  for (const Reply& reply : got) EXPECT_TRUE(reply.succeeded());
}

TEST_F(ServiceTest, AFailedCommitEndsTheService) {
  std::unique_ptr<Service> service = open_in_memory();
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  control_.is_failing = true;
  Request request = one(test_transfer(1, 2, 1, 1));
  request.lookups = {2};
  Reply reply = service->execute(request);
  ASSERT_TRUE(reply.error.has_value());
  EXPECT_EQ(reply.error->message, "no space left on device");
  EXPECT_TRUE(reply.transfers.empty());
  EXPECT_TRUE(reply.lookups.empty());
  control_.is_failing = false;
  EXPECT_FALSE(service->is_healthy());
  EXPECT_TRUE(service->execute(one(test_transfer(2, 2, 1, 1))).error.has_value());
  EXPECT_FALSE(service->find_account(2).ok());
  EXPECT_FALSE(service->audit().ok());
  EXPECT_EQ(control_.entries, 1u);
}

TEST_F(ServiceTest, HoldsExpireByTheTick) {
  std::unique_ptr<Service> service = open_on_disk();
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  Transfer hold = test_transfer(1, 2, 1, 10, transfer_flag::kPending);
  hold.timeout_ms = 5;
  ASSERT_TRUE(service->execute(one(hold)).succeeded());
  EXPECT_EQ(service->pending_transfers().value().size(), 1u);
  clock_.advance_ms(5);
  // No request comes; the tick alone must do it.
  for (int i = 0; i < 2000; ++i) {
    if (service->pending_state(1).value() == PendingState::kExpired) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(service->pending_state(1).value(), PendingState::kExpired);
  EXPECT_TRUE(available(*service->find_account(2).value()) == 1000);
  EXPECT_TRUE(service->audit().ok());
}

TEST_F(ServiceTest, ReopeningReleasesHoldsAndChargesNothing) {
  {
    std::unique_ptr<Service> service = open_on_disk();
    EXPECT_EQ(service->holds_released_at_open(), 0);
    ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
    Transfer order = test_transfer(2, 2, 1, 20, transfer_flag::kPending);
    order.code = transfer_code::kTradeCash;
    ASSERT_TRUE(
        service->execute(one(test_transfer(1, 2, 1, 10, transfer_flag::kPending))).succeeded());
    ASSERT_TRUE(service->execute(one(order)).succeeded());
  }
  std::unique_ptr<Service> service = open_on_disk();
  EXPECT_EQ(service->holds_released_at_open(), 1);
  EXPECT_EQ(service->opened_with().holds_open, 2);
  EXPECT_EQ(service->pending_state(1).value(), PendingState::kVoided);
  EXPECT_EQ(service->pending_state(2).value(), PendingState::kPending);
  EXPECT_TRUE(available(*service->find_account(2).value()) == 980);
  Transfer post{.id = 3,
                .amount = 5,
                .pending_id = 1,
                .code = transfer_code::kPostSlice,
                .flags = transfer_flag::kPostPending};
  EXPECT_EQ(service->execute(one(post)).transfers[0], TransferStatus::kAlreadyVoided);
  EXPECT_TRUE(service->audit().ok());
}

TEST_F(ServiceTest, LimitsAreNamedAndNothingIsApplied) {
  std::unique_ptr<Service> service = open_in_memory();
  Request request = accounts_and_grant();
  request.documents = {{.id = 1, .bytes = std::string(kDocumentBytesMax + 1, 'x')}};
  EXPECT_EQ(service->execute(request).error->code, Code::kLimit);
  request.documents = {{.id = 0, .bytes = "x"}};
  EXPECT_EQ(service->execute(request).error->code, Code::kInvalid);
  request.documents.clear();
  request.transfers.resize(kRequestEventsMax + 1);
  EXPECT_EQ(service->execute(request).error->message,
            "ledger: request has 8191 transfers, the limit is 8190");
  EXPECT_TRUE(service->all_accounts().value().empty());
}

TEST_F(ServiceTest, StoppingAnswersWhatWasQueued) {
  std::unique_ptr<Service> service = open_in_memory();
  ASSERT_TRUE(service->execute(accounts_and_grant()).succeeded());
  control_.is_blocked = true;
  std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(100);
  for (u64 i = 0; i < 50; ++i) {
    Request request = one(test_transfer(1 + i, 2, 1, 1));
    ASSERT_TRUE(service->submit(request, replies));
  }
  control_.is_blocked = false;
  service->stop();
  std::vector<Reply> got;
  replies->drain(got);
  EXPECT_EQ(got.size(), 50u);
  Request late = one(test_transfer(99, 2, 1, 1));
  EXPECT_FALSE(service->submit(late, replies));
  EXPECT_TRUE(service->execute(late).error.has_value());
  EXPECT_FALSE(service->find_account(1).ok());
}

TEST_F(ServiceTest, AGoneAskerHurtsNobody) {
  std::unique_ptr<Service> service = open_in_memory();
  std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(1);
  replies->close();
  Request request = accounts_and_grant();
  ASSERT_TRUE(service->submit(request, std::move(replies)));
  EXPECT_TRUE(service->find_account(2).value().has_value());
}

}  // namespace
}  // namespace tg::ledger
