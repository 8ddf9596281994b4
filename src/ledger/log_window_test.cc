// A log of which little stays in memory: who asks for what is old gets the same answers, and who
// cannot have them is told so.
#include <gtest/gtest.h>

#include <fstream>

#include "base/log.h"
#include "ledger/ledger_testing.h"
#include "ledger/log_store.h"
#include "ledger/service.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

class LogWindowTest : public testing::Test {
 protected:
  static constexpr u64 kTransfers = 600;

  std::unique_ptr<Service> open() {
    Result<std::unique_ptr<LogStore>> store = LogStore::open(folder_.path());
    EXPECT_TRUE(store.ok()) << store.error().message;
    (*store)->set_window({.block_shift = 3, .window_blocks = 2});
    Result<std::unique_ptr<Service>> service = Service::open(std::move(*store), clock_);
    EXPECT_TRUE(service.ok()) << service.error().message;
    return std::move(*service);
  }
  static Transfer transfer(u64 i) { return test_transfer(i, 1, 2, i); }
  static Transfer hold(u64 id) {
    Transfer t = test_transfer(id, 1, 2, 50, transfer_flag::kPending);
    t.code = transfer_code::kLease;
    return t;
  }
  static TransferStatus status_of(Service& service, const Transfer& t) {
    Request request;
    request.transfers = {t};
    Reply reply = service.execute(request);
    EXPECT_FALSE(reply.error.has_value()) << reply.failure();
    return reply.error.has_value() ? TransferStatus::kLinkedEventFailed : reply.transfers[0];
  }
  // Two holds, then transfers in commits of one to many, some with documents.
  void fill(Service& service) {
    Request accounts;
    accounts.accounts = {test_account(1), test_account(2)};
    accounts.transfers = {hold(9'001), hold(9'002)};
    ASSERT_TRUE(service.execute(accounts).succeeded());
    for (u64 i = 1; i <= kTransfers;) {
      Request request;
      for (u64 n = 1 + i % 40; n > 0 && i <= kTransfers; --n, ++i)
        request.transfers.push_back(transfer(i));
      if (i % 3 == 0) request.documents = {{.id = i, .bytes = std::string(i * 30, 'd')}};
      ASSERT_TRUE(service.execute(request).succeeded());
    }
  }
  void check(Service& service) {
    for (u64 i = 1; i <= kTransfers; i += 7) {
      EXPECT_EQ(status_of(service, transfer(i)), TransferStatus::kExists) << i;
      Transfer other = transfer(i);
      other.amount += 1;
      EXPECT_EQ(status_of(service, other), TransferStatus::kExistsWithDifferentAmount) << i;
      EXPECT_EQ(service.find_transfer(i).value()->amount, u128{i});
    }
    Statement page = service.statement({.account = 2, .limit = 10'000}).value();
    u64 i = kTransfers;
    for (const StatementLine& line : page.lines) {
      if (line.entry.transfer.id > kTransfers) continue;
      EXPECT_EQ(line.entry.transfer.id, u128{i});
      EXPECT_EQ(line.entry.transfer.amount, u128{i});
      --i;
    }
    EXPECT_EQ(i, 0u);
  }
  std::string path() const { return folder_.path() + "/" + kLogFileName; }

  SystemClock clock_;
  TemporaryFolder folder_;
};

TEST_F(LogWindowTest, WhatIsOldAnswersAsEver) {
  std::unique_ptr<Service> service = open();
  fill(*service);
  check(*service);
  // A hold that was opened long ago, and one that was resolved long ago.
  Transfer post{.id = 9'100, .amount = 20, .pending_id = 9'001, .flags = 0};
  post.code = transfer_code::kPostSlice;
  post.flags = transfer_flag::kPostPending;
  EXPECT_EQ(status_of(*service, post), TransferStatus::kOk);
  for (u64 i = 1; i <= 100; ++i)
    EXPECT_EQ(status_of(*service, test_transfer(10'000 + i, 1, 2, 1)), TransferStatus::kOk);
  post.id = 9'101;
  EXPECT_EQ(status_of(*service, post), TransferStatus::kAlreadyPosted);
  EXPECT_EQ(service->pending_transfers().value().size(), 1u);
  Result<AuditReport> audit = service->audit();
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  service.reset();
  service = open();
  check(*service);
  EXPECT_EQ(service->pending_transfers().value().size(), 1u);
}

// What was said about an old transfer cannot be found out: nobody is told that it is the same.
TEST_F(LogWindowTest, WhatCannotBeReadBackEndsTheService) {
  set_log_level(LogLevel::kOff);
  std::unique_ptr<Service> service = open();
  fill(*service);
  {
    std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
    std::string zeros(20'000, '\0');
    file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  }
  EXPECT_FALSE(service->find_transfer(1).ok());
  EXPECT_TRUE(service->is_healthy());
  // What is new does not need it.
  EXPECT_EQ(status_of(*service, test_transfer(20'000, 1, 2, 1)), TransferStatus::kOk);
  Request retry;
  retry.transfers = {transfer(1)};
  Reply reply = service->execute(retry);
  ASSERT_TRUE(reply.error.has_value());
  EXPECT_EQ(reply.error->code, Code::kCorrupt);
  EXPECT_FALSE(service->is_healthy());
  retry.transfers = {test_transfer(20'001, 1, 2, 1)};
  EXPECT_TRUE(service->execute(retry).error.has_value());
  set_log_level(LogLevel::kInfo);
}

}  // namespace
}  // namespace tg::ledger
