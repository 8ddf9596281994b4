// kill -9 at any moment loses nothing that was acknowledged: a child commits in a loop and writes
// each acknowledged id to a pipe; the parent kills it, reopens the ledger and looks for every one.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "env/clock.h"
#include "env/random.h"
#include "env/seed_testing.h"
#include "ledger/ledger_testing.h"
#include "ledger/log_store.h"
#include "ledger/open_store.h"
#include "ledger/postgres_server_testing.h"
#include "ledger/postgres_store.h"
#include "ledger/service.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

constexpr int kKills = 25;

// TG_CRASH_KILLS: how often (test/ledger_kill_loop.sh).
int kill_count() {
  const char* text = std::getenv("TG_CRASH_KILLS");
  return text == nullptr ? kKills : std::atoi(text);
}
constexpr u64 kTransfersPerRequest = 8;

// The log with snapshots so often that kills meet them.
Result<std::unique_ptr<Store>> open_often_snapping(const std::string& folder, StoreKind kind) {
  if (kind != StoreKind::kLog) return open_store(folder, kind);
  TG_ASSIGN(std::unique_ptr<LogStore> store, LogStore::open(folder, {.entries_min = 200}));
  return std::unique_ptr<Store>(std::move(store));
}

// `kind` is what the first opening makes.
std::unique_ptr<Service> open_service(const std::string& folder, Clock& clock, StoreKind kind) {
  Result<std::unique_ptr<Store>> store = open_often_snapping(folder, kind);
  if (!store.ok()) return nullptr;
  // Some groups are committed beside the deciding of the next, some are not.
  Result<std::unique_ptr<Service>> service =
      Service::open(std::move(store).value(), clock, {.overlap_transfers_min = 32});
  if (!service.ok()) return nullptr;
  return std::move(service).value();
}

Request make_request(u64 first_id) {
  Request request{.tag = first_id};
  request.accounts = {test_account(1), test_account(2, account_flag::kDebitsMustNotExceedCredits)};
  for (u64 i = 0; i < kTransfersPerRequest; i += 2) {
    u64 id = first_id + i;
    request.transfers.push_back(test_transfer(id, 1, 2, 10, transfer_flag::kPending));
    Transfer post{.id = id + 1,
                  .amount = 7,
                  .pending_id = id,
                  .code = transfer_code::kPostSlice,
                  .flags = transfer_flag::kPostPending};
    request.transfers.push_back(post);
  }
  request.documents = {{.id = first_id, .bytes = "receipt " + std::to_string(first_id)}};
  return request;
}

// Never returns: commits and acknowledges until killed.
[[noreturn]] void child_main(const std::string& folder, StoreKind kind, int pipe_fd, u64 first_id) {
  SystemClock clock;
  std::unique_ptr<Service> service = open_service(folder, clock, kind);
  if (service == nullptr) _exit(1);
  constexpr u64 kInFlight = 16;
  std::shared_ptr<Mailbox<Reply>> replies = std::make_shared<Mailbox<Reply>>(kInFlight);
  std::vector<Reply> got;
  u64 in_flight = 0;
  for (u64 id = first_id;;) {
    for (; in_flight < kInFlight; ++in_flight, id += kTransfersPerRequest) {
      Request request = make_request(id);
      if (!service->submit(request, replies)) _exit(2);
    }
    got.clear();
    replies->wait(got, 1'000'000'000);
    in_flight -= got.size();
    for (const Reply& reply : got) {
      if (!reply.succeeded()) _exit(3);
      if (write(pipe_fd, &reply.tag, sizeof(reply.tag)) != sizeof(reply.tag)) _exit(4);
    }
  }
}

// Runs a child for a while, kills it, and appends what it acknowledged.
void run_and_kill(const std::string& folder, StoreKind kind, u64 first_id, i64 run_ms,
                  std::vector<u64>& acks) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(fds[0]);
    child_main(folder, kind, fds[1], first_id);
  }
  close(fds[1]);
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(run_ms));
    kill(child, SIGKILL);
  });
  u64 tag = 0;
  while (read(fds[0], &tag, sizeof(tag)) == static_cast<ssize_t>(sizeof(tag))) acks.push_back(tag);
  killer.join();
  close(fds[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
}

class LedgerCrash : public testing::TestWithParam<StoreKind> {};

TEST_P(LedgerCrash, KilledWritersLoseNoAcknowledgedTransfer) {
  TemporaryFolder folder;
  std::string why;
  std::unique_ptr<PostgresServer> server;
  if (GetParam() == StoreKind::kPostgres) {
    server = PostgresServer::start(why);
    if (server == nullptr) GTEST_SKIP() << why;
    std::ofstream(folder.path() + "/" + kPostgresFileName) << server->address("postgres");
  }
  const int kills = kill_count();
  SeededRandom random(first_seed() + 4);
  std::vector<u64> acks;
  u64 first_id = 1'000;
  for (int kill_number = 0; kill_number < kills; ++kill_number) {
    // A server's client takes a while to connect.
    i64 run_ms = (server == nullptr ? 5 : 40) + static_cast<i64>(random.below(60));
    run_and_kill(folder.path(), GetParam(), first_id, run_ms, acks);
    if (HasFatalFailure()) return;
    first_id += 10'000'000;

    SystemClock clock;
    std::unique_ptr<Service> service = open_service(folder.path(), clock, GetParam());
    ASSERT_NE(service, nullptr) << "after kill " << kill_number;
    EXPECT_EQ(service->pending_transfers().value().size(), 0u);
    Result<AuditReport> audit = service->audit();
    ASSERT_TRUE(audit.ok()) << audit.error().message;
  }
  SystemClock clock;
  std::unique_ptr<Service> service = open_service(folder.path(), clock, GetParam());
  ASSERT_NE(service, nullptr);
  ASSERT_GT(acks.size(), 20u);
  for (u64 tag : acks) {
    for (u64 i = 0; i < kTransfersPerRequest; ++i)
      ASSERT_TRUE(service->find_transfer(tag + i).value().has_value()) << tag + i;
    ASSERT_EQ(service->read_document(tag).value(), "receipt " + std::to_string(tag));
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, LedgerCrash,
                         testing::Values(StoreKind::kLog, StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const testing::TestParamInfo<StoreKind>& store) {
                           return std::string(name(store.param));
                         });

}  // namespace
}  // namespace tg::ledger
