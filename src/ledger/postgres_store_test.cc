// The PostgreSQL store: one history, several gateways, a server that crashes, a network that parts.
// Skipped, visibly, where postgresql-15 is not installed.
#include "ledger/postgres_store.h"

#include <gtest/gtest.h>

#include <thread>

#include "env/clock.h"
#include "ledger/ledger_testing.h"
#include "ledger/postgres_connection.h"
#include "ledger/postgres_rows.h"
#include "ledger/postgres_server_testing.h"
#include "ledger/service.h"
#include "ledger/socket_proxy_testing.h"
#include "ledger/store_run_testing.h"

namespace tg::ledger {
namespace {

class PostgresStoreTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = PostgresServer::start(why_); }
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (server_ == nullptr) GTEST_SKIP() << why_;
    database_ = "d" + std::to_string(++databases_);
    ASSERT_TRUE(server_->create_database(database_));
  }
  std::string address() const { return server_->address(database_); }
  std::unique_ptr<Store> open(const std::string& where) {
    Result<std::unique_ptr<PostgresStore>> store = PostgresStore::open(where);
    EXPECT_TRUE(store.ok()) << store.error().message;
    return store.ok() ? std::move(store).value() : nullptr;
  }
  std::unique_ptr<Service> serve(const std::string& where) {
    Result<std::unique_ptr<Service>> service = Service::open(open(where), clock_);
    EXPECT_TRUE(service.ok()) << service.error().message;
    return service.ok() ? std::move(service).value() : nullptr;
  }

  static inline std::unique_ptr<PostgresServer> server_;
  static inline std::string why_;
  static inline int databases_ = 0;
  std::string database_;
  SystemClock clock_;
};

TEST(PostgresRows, AmountsAreThereAndBack) {
  for (u128 amount : {u128{0}, u128{1}, u128{9'999}, u128{10'000}, u128{123'456'789},
                      u128{10'000} * 10'000 * 10'000, ~u128{0}, u128{1} << 127}) {
    PostgresRowWriter out;
    out.begin_row(2);
    out.add_amount(amount);
    out.add_id(amount);
    PostgresRowReader in(out.finish());
    ASSERT_TRUE(in.begin_row(2, true));
    EXPECT_TRUE(in.amount_field() == amount && in.id_field() == amount && in.is_ok());
    EXPECT_FALSE(in.begin_row(2, false));
  }
}

TEST(PostgresRows, DamagedRowsAreNoticed) {
  PostgresRowWriter out;
  out.begin_row(1);
  out.add_amount(~u128{0});
  std::span<const u8> whole = out.finish();
  for (std::size_t size = 19; size + 2 < whole.size(); ++size) {
    PostgresRowReader in(whole.first(size));
    if (in.begin_row(1, true)) in.amount_field();
    EXPECT_TRUE(size == 19 || !in.is_ok()) << size;
  }
  // 40 nines do not fit 128 bits.
  std::vector<u8> large = {0, 10, 0, 9, 0, 0, 0, 0};
  for (int i = 0; i < 10; ++i) large.insert(large.end(), {0x27, 0x0F});
  bool is_ok = true;
  amount_from_numeric(large, is_ok);
  EXPECT_FALSE(is_ok);
}

// The same lives that the log lives through; here the process ends, or the server does.
TEST_F(PostgresStoreTest, LivesThroughRestarts) {
  class World final : public StoreWorld {
   public:
    explicit World(std::string address) : address_(std::move(address)) {}
    Result<std::unique_ptr<Store>> open() override {
      TG_ASSIGN(std::unique_ptr<PostgresStore> store, PostgresStore::open(address_));
      return std::unique_ptr<Store>(std::move(store));
    }
    void crash() override {
      if (++crashes_ % 4 != 0) return;
      EXPECT_TRUE(server_->kill_server() && server_->start_server());
    }

   private:
    std::string address_;
    int crashes_ = 0;
  };
  World world(address());
  StoreRunCounts counts;
  StoreRun run(7, world);
  run.run(60, counts);
  EXPECT_GT(counts.restarts, 5);
}

TEST_F(PostgresStoreTest, AGatewayThatDidNotLookIsFenced) {
  std::unique_ptr<Store> first = open(address());
  std::unique_ptr<Store> second = open(address());
  StateMachine a;
  StateMachine b;
  ASSERT_TRUE(first->load(a).ok() && second->load(b).ok());
  Effects effects;
  ASSERT_TRUE(first->begin(a).ok());
  a.create_account(test_account(1), Timestamp{5});
  a.take_effects(effects);
  ASSERT_TRUE(first->commit(effects, {}).ok());
  // b decided without begin(), on the state before.
  b.create_account(test_account(2), Timestamp{6});
  b.take_effects(effects);
  Status refused = second->commit(effects, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("another gateway"), std::string::npos);
  StateMachine again;
  EXPECT_EQ(second->load(again).value().accounts, 1);
  EXPECT_TRUE(second->begin(again).ok());
  EXPECT_TRUE(second->commit({}, {}).ok());
}

TEST_F(PostgresStoreTest, AGatewayThatComesBackVoidsItsOwnHolds) {
  auto serve_as = [&](const char* name) {
    return std::move(Service::open(std::move(PostgresStore::open(address(), name)).value(), clock_))
        .value();
  };
  std::unique_ptr<Service> one = serve_as("one");
  std::unique_ptr<Service> two = serve_as("two");
  Request request;
  request.accounts = {test_account(1), test_account(2)};
  request.transfers = {test_transfer(3, 1, 2, 5, transfer_flag::kPending)};
  ASSERT_TRUE(one->execute(request).succeeded());
  request.transfers = {test_transfer(4, 1, 2, 5, transfer_flag::kPending)};
  ASSERT_TRUE(two->execute(request).succeeded());
  Transfer lease = test_transfer(5, 1, 2, 5, transfer_flag::kPending);
  lease.code = transfer_code::kLease;
  request.transfers = {lease, test_transfer(6, 1, 2, 5, transfer_flag::kPending)};
  ASSERT_TRUE(one->execute(request).succeeded());
  one.reset();
  one = serve_as("one");
  EXPECT_EQ(one->holds_released_at_open(), 2);
  EXPECT_EQ(one->pending_state(3).value(), PendingState::kVoided);
  EXPECT_EQ(one->pending_state(4).value(), PendingState::kPending);
  EXPECT_EQ(one->pending_state(5).value(), PendingState::kPending);
  EXPECT_EQ(one->pending_state(6).value(), PendingState::kVoided);
  EXPECT_TRUE(two->audit().ok());
  EXPECT_FALSE(PostgresStore::open(address(), "Not a 'name").ok());
}

TEST_F(PostgresStoreTest, TablesOfVersion1AreBroughtUpToDate) {
  {
    std::unique_ptr<Service> service = serve(address());
    Request request;
    request.accounts = {test_account(1), test_account(2)};
    request.transfers = {test_transfer(3, 1, 2, 5)};
    ASSERT_TRUE(service->execute(request).succeeded());
  }
  PostgresConnection sql = std::move(PostgresConnection::open(address())).value();
  ASSERT_TRUE(sql.execute("ALTER TABLE tokengrid_ledger.commits DROP COLUMN gateway; "
                          "UPDATE tokengrid_ledger.head SET version = 1")
                  .ok());
  std::unique_ptr<Service> service = serve(address());
  EXPECT_EQ(service->find_account(2).value()->credits_posted, 5u);
  Request more;
  more.transfers = {test_transfer(4, 1, 2, 5)};
  EXPECT_TRUE(service->execute(more).succeeded());
}

constexpr u128 kBudget = 1'000;

Request funding() {
  Request request;
  request.accounts = {test_account(1), test_account(2, account_flag::kDebitsMustNotExceedCredits)};
  request.transfers = {test_transfer(3, 1, 2, kBudget)};
  return request;
}

// Spends 7 in holds of 10 until the budget ends; how many succeeded. Errors are retried with the
// same ids.
i64 spend(Service& service, u64 first_id, i64 attempts) {
  i64 spent = 0;
  for (i64 i = 0; i < attempts; ++i) {
    u64 id = first_id + static_cast<u64>(i) * 2;
    Request request;
    request.transfers = {test_transfer(id, 2, 1, 10, transfer_flag::kPending)};
    request.transfers[0].timeout_ms = 60'000;
    Transfer post{.id = id + 1,
                  .amount = 7,
                  .pending_id = id,
                  .code = transfer_code::kPostSlice,
                  .flags = transfer_flag::kPostPending};
    request.transfers.push_back(post);
    Reply reply = service.execute(request);
    for (int retries = 0; reply.error.has_value() && retries < 400; ++retries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
      reply = service.execute(request);
    }
    if (reply.succeeded()) ++spent;
  }
  return spent;
}

TEST_F(PostgresStoreTest, TwoGatewaysShareOneBudget) {
  std::unique_ptr<Service> first = serve(address());
  std::unique_ptr<Service> second = serve(address());
  ASSERT_TRUE(first->execute(funding()).succeeded());
  i64 spent_by_first = 0;
  std::thread other([&] { spent_by_first = spend(*first, 1'000'000, 90); });
  i64 spent_by_second = spend(*second, 2'000'000, 90);
  other.join();
  // 180 wishes of 7 against 1,000: what both were granted is what is gone, and no more.
  i64 spent = (spent_by_first + spent_by_second) * 7;
  EXPECT_LE(spent, static_cast<i64>(kBudget));
  EXPECT_GT(spent, static_cast<i64>(kBudget) - 10);
  for (Service* service : {first.get(), second.get()}) {
    EXPECT_TRUE(service->execute({}).succeeded());
    Account account = service->find_account(2).value().value();
    EXPECT_EQ(static_cast<i64>(account.debits_posted), spent);
    Result<AuditReport> audit = service->audit();
    EXPECT_TRUE(audit.ok()) << audit.error().message;
  }
}

TEST_F(PostgresStoreTest, APartedGatewayChargesNothingTwiceAndRecovers) {
  SocketProxy proxy(server_->socket_path());
  std::unique_ptr<Service> near = serve(address());
  std::unique_ptr<Service> far =
      serve("host=" + proxy.folder() + " user=tokengrid dbname=" + database_);
  ASSERT_TRUE(near->execute(funding()).succeeded());
  std::atomic<bool> is_over{false};
  std::thread cutter([&] {
    while (!is_over) {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
      proxy.part();
      std::this_thread::sleep_for(std::chrono::milliseconds(40));
      proxy.join();
    }
  });
  i64 spent_far = 0;
  std::thread other([&] { spent_far = spend(*far, 1'000'000, 60); });
  i64 spent_near = spend(*near, 2'000'000, 60);
  other.join();
  is_over = true;
  cutter.join();
  EXPECT_GT(proxy.parted_connections(), 0);
  i64 granted = (spent_far + spent_near) * 7;
  ASSERT_TRUE(near->execute({}).succeeded());
  Account account = near->find_account(2).value().value();
  EXPECT_EQ(static_cast<i64>(account.debits_posted), granted);
  EXPECT_LE(account.debits_posted + account.debits_pending, kBudget);
  EXPECT_EQ(account.debits_pending, 0u);
  EXPECT_GT(spent_far, 0);
  EXPECT_TRUE(near->audit().ok());
}

TEST_F(PostgresStoreTest, EveryKindOfDamageIsNamed) {
  {
    std::unique_ptr<Service> service = serve(address());
    ASSERT_TRUE(service->execute(funding()).succeeded());
  }
  PostgresConnection sql = std::move(PostgresConnection::open(address())).value();
  struct Damage {
    const char* make;
    const char* undo;
    const char* expected;
  };
  const Damage damages[] = {
      {"UPDATE tokengrid_ledger.journal SET amount = 9999",
       "UPDATE tokengrid_ledger.journal SET amount = 1000", "does not match its entries"},
      {"UPDATE tokengrid_ledger.journal SET position = 9",
       "UPDATE tokengrid_ledger.journal SET position = 1", "journal ends at entry 0"},
      {"UPDATE tokengrid_ledger.head SET entries = 2",
       "UPDATE tokengrid_ledger.head SET entries = 1", "disagree"},
      {"UPDATE tokengrid_ledger.accounts SET number = 7 WHERE number = 2",
       "UPDATE tokengrid_ledger.accounts SET number = 2 WHERE number = 7", "account row 7"},
  };
  for (const Damage& damage : damages) {
    ASSERT_TRUE(sql.execute(damage.make).ok()) << damage.make;
    std::unique_ptr<Store> store = open(address());
    StateMachine machine;
    Result<AuditReport> report = store->load(machine);
    ASSERT_FALSE(report.ok()) << damage.make;
    EXPECT_EQ(report.error().code, Code::kCorrupt);
    EXPECT_NE(report.error().message.find(damage.expected), std::string::npos)
        << report.error().message;
    ASSERT_TRUE(sql.execute(damage.undo).ok()) << damage.undo;
  }
}

// What asking again may change is told from what it cannot, whether the connection ended or not.
TEST_F(PostgresStoreTest, ErrorsSayWhetherToAskAgain) {
  PostgresConnection one = std::move(PostgresConnection::open(address())).value();
  PostgresConnection two = std::move(PostgresConnection::open(address())).value();
  ASSERT_TRUE(one.execute("CREATE TABLE t(k int PRIMARY KEY); INSERT INTO t VALUES(1)").ok());
  for (const char* wrong :
       {"SELEC 1", "SELECT 1/0", "SELECT * FROM none", "INSERT INTO t VALUES(1)"})
    EXPECT_EQ(one.execute(wrong).error().code, Code::kIo) << wrong;
  EXPECT_EQ(one.copy_out("COPY none TO STDOUT", {}).error().code, Code::kIo);
  // Somebody has the lock.
  ASSERT_TRUE(one.execute("BEGIN; SELECT * FROM t FOR UPDATE").ok());
  Result<PostgresResult> locked = two.execute("SET lock_timeout = 10; SELECT * FROM t FOR UPDATE");
  EXPECT_EQ(locked.error().code, Code::kUnavailable) << locked.error().message;
  EXPECT_TRUE(two.is_usable());
  // The session is ended, and told so.
  ASSERT_TRUE(two.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                          "pg_backend_pid() AND datname = current_database()")
                  .ok());
  EXPECT_EQ(one.execute("SELECT 1").error().code, Code::kUnavailable);
}

// Neither for an answer nor for a connection is it waited without end, and what an old connection
// still says is not taken for an answer to anything.
TEST_F(PostgresStoreTest, AServerThatStandsStillIsGivenUp) {
  SocketProxy proxy(server_->socket_path());
  std::string through = "host=" + proxy.folder() + " user=tokengrid dbname=" + database_;
  PostgresConnection one = std::move(PostgresConnection::open(through)).value();
  ASSERT_TRUE(one.execute("SELECT 1").ok());
  proxy.hush();
  Result<PostgresResult> silent = one.execute("SELECT 2");
  ASSERT_FALSE(silent.ok());
  EXPECT_EQ(silent.error().code, Code::kUnavailable);
  EXPECT_NE(silent.error().message.find("silent for"), std::string::npos) << silent.error().message;
  EXPECT_EQ(PostgresConnection::open(through).error().code, Code::kUnavailable);
  proxy.speak();
  EXPECT_FALSE(one.is_usable());
  EXPECT_EQ(one.execute("SELECT 3").error().code, Code::kUnavailable);
  EXPECT_EQ(one.copy_out("COPY (SELECT 1) TO STDOUT", {}).error().code, Code::kUnavailable);
  one = std::move(PostgresConnection::open(through)).value();
  EXPECT_EQ(one.execute("SELECT 4")->integer(0, 0), 4);
}

// A lock that others keep for longer than one wait for it is no fault of the server.
TEST_F(PostgresStoreTest, ALockThatOthersKeepIsWaitedFor) {
  std::unique_ptr<Service> service = serve(address());
  ASSERT_TRUE(service->execute(funding()).succeeded());
  PostgresConnection other = std::move(PostgresConnection::open(address())).value();
  ASSERT_TRUE(other.execute("BEGIN; SELECT * FROM tokengrid_ledger.head FOR UPDATE").ok());
  std::thread keeper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(kLockWaitMs + 300));
    EXPECT_TRUE(other.execute("COMMIT").ok());
  });
  Request request;
  request.transfers = {test_transfer(4, 2, 1, 5)};
  Reply reply = service->execute(request);
  EXPECT_TRUE(reply.succeeded()) << reply.failure();
  keeper.join();
  EXPECT_TRUE(service->is_healthy());
}

// As after the fail-over to a copy that was behind: what was acknowledged is missed, not forgotten.
TEST_F(PostgresStoreTest, AServerThatLostCommitsIsNotBelieved) {
  std::unique_ptr<Service> service = serve(address());
  Request request;
  request.accounts = {test_account(1)};
  ASSERT_TRUE(service->execute(request).succeeded());
  PostgresConnection admin = std::move(PostgresConnection::open(address())).value();
  ASSERT_TRUE(admin
                  .execute("SET search_path = tokengrid_ledger; DELETE FROM accounts; "
                           "DELETE FROM commits; UPDATE head SET commits = 0")
                  .ok());
  request.accounts = {test_account(2)};
  for (int i = 0; i < 3; ++i) {
    Reply reply = service->execute(request);
    ASSERT_TRUE(reply.error.has_value());
    EXPECT_EQ(reply.error->code, Code::kCorrupt);
    EXPECT_NE(reply.error->message.find("are gone"), std::string::npos) << reply.error->message;
  }
  EXPECT_FALSE(service->is_healthy());
}

TEST_F(PostgresStoreTest, TheServersOwnSumsAgree) {
  std::unique_ptr<Service> service = serve(address());
  ASSERT_TRUE(service->execute(funding()).succeeded());
  EXPECT_EQ(spend(*service, 100, 20), 20);
  PostgresConnection sql = std::move(PostgresConnection::open(address())).value();
  Result<PostgresResult> rows = sql.execute(
      "SELECT debits_posted, credits_posted FROM tokengrid_ledger.posted "
      "WHERE account = '00000000000000000000000000000002'");
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  ASSERT_EQ(rows->rows(), 1);
  EXPECT_EQ(rows->integer(0, 0), 140);
  EXPECT_EQ(rows->integer(0, 1), 1'000);
}

}  // namespace
}  // namespace tg::ledger
