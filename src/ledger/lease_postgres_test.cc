// Two gateways and one PostgreSQL: each has a ledger of its own, a connection of its own to the
// shared one, and a keeper of leases. The network parts between them; the server is killed and
// comes back. Budgets hold, nothing is charged twice, requests go on meanwhile, and all recover.
// Skipped, visibly, where postgresql-15 is not installed.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "env/clock.h"
#include "env/simulated_file_testing.h"
#include "ledger/lease.h"
#include "ledger/ledger_testing.h"
#include "ledger/log_store.h"
#include "ledger/postgres_server_testing.h"
#include "ledger/postgres_store.h"
#include "ledger/socket_proxy_testing.h"

namespace tg::ledger {
namespace {

constexpr u128 kBuyer = 10;
constexpr u128 kWash = 11;
constexpr u128 kPayee = 12;
constexpr u128 kSeller = 13;

void sleep_ms(i64 ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// A gateway as a process would be: requests on one thread, the keeper on another.
class Gateway {
 public:
  Gateway(const std::string& name, const std::string& address, u128 amount) {
    // In memory: what is measured here is the other ledger.
    own_ =
        std::move(Service::open(LogStore::over(std::move(AppendFile::over(medium_.open())).value()),
                                clock_))
            .value();
    Request request;
    request.accounts = {test_account(kSeller)};
    EXPECT_TRUE(own_->execute(request).succeeded());
    shared_ =
        std::move(Service::open(std::move(PostgresStore::open(address, name)).value(), clock_))
            .value();
    LeaseOptions options{.gateway = name, .payee = kPayee, .amount = amount};
    keeper_ = std::make_unique<LeaseKeeper>(*own_, *shared_, clock_, random_, options);
  }
  ~Gateway() { stop(); }

  void start() {
    threads_.emplace_back([this] { spend_until_over(); });
    threads_.emplace_back([this] { renew_until_over(); });
  }
  void stop() {
    is_over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // Everything is settled and nothing held, whatever it takes.
  bool settle() {
    for (int i = 0; i < 100; ++i, sleep_ms(50)) {
      Result<LeaseReport> report = keeper_->give_back(kBuyer);
      if (report.ok() && !report->is_in_doubt && report->leased == 0) return true;
    }
    return false;
  }
  i64 spent() const { return spent_; }
  // Whether more than `before` is spent, within a time that a loaded machine needs.
  bool goes_on(i64 before) const {
    for (int i = 0; i < 400 && spent_ <= before; ++i) sleep_ms(25);
    return spent_ > before;
  }
  LeaseReport report() { return keeper_->report(kBuyer).value(); }
  Service& shared() { return *shared_; }
  Service& own() { return *own_; }

 private:
  void spend_until_over() {
    SeededRandom random(reinterpret_cast<u64>(this));
    while (!is_over_) {
      Request request;
      u128 id = time_ordered_id(clock_.now(), random);
      request.transfers = {test_transfer(id, kBuyer, kSeller, 10, transfer_flag::kPending),
                           {.id = time_ordered_id(clock_.now(), random),
                            .amount = 7,
                            .pending_id = id,
                            .code = transfer_code::kPostSlice,
                            .flags = transfer_flag::kPostPending}};
      request.transfers[0].flags |= transfer_flag::kLinked;
      if (own_->execute(request).succeeded()) {
        spent_ += 7;
      }
      sleep_ms(2);
    }
  }
  void renew_until_over() {
    while (!is_over_) {
      [[maybe_unused]] Result<LeaseReport> renewed = keeper_->renew(kBuyer);
      Status stopped = keeper_->stop_overdue();
      EXPECT_TRUE(stopped.ok()) << stopped.error().message;
      sleep_ms(20);
    }
  }

  SimulatedMedium medium_{1};
  SystemClock clock_;
  OsRandom random_;
  std::unique_ptr<Service> own_;
  std::unique_ptr<Service> shared_;
  std::unique_ptr<LeaseKeeper> keeper_;
  std::atomic<bool> is_over_{false};
  std::atomic<i64> spent_{0};
  std::vector<std::thread> threads_;
};

class LeasePostgresTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = PostgresServer::start(why_); }
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (server_ == nullptr) GTEST_SKIP() << why_;
    set_log_level(LogLevel::kOff);
    database_ = "l" + std::to_string(++databases_);
    ASSERT_TRUE(server_->create_database(database_));
  }
  void TearDown() override { set_log_level(LogLevel::kInfo); }

  void fund(u128 budget) {
    SystemClock clock;
    std::unique_ptr<Service> service =
        std::move(Service::open(std::move(PostgresStore::open(server_->address(database_))).value(),
                                clock))
            .value();
    Request request;
    request.accounts = {test_account(kBuyer, account_flag::kDebitsMustNotExceedCredits),
                        test_account(kWash), test_account(kPayee)};
    request.transfers = {test_transfer(1, kWash, kBuyer, budget)};
    ASSERT_TRUE(service->execute(request).succeeded());
  }
  // What both say they spent is what the shared ledger has, once, within the budget.
  void expect_settled(Gateway& a, Gateway& b, i64 budget) {
    ASSERT_TRUE(a.settle() && b.settle());
    EXPECT_EQ(a.report().lost + b.report().lost, 0u);
    Account buyer = b.shared().find_account(kBuyer).value().value();
    EXPECT_EQ(static_cast<i64>(buyer.debits_posted), a.spent() + b.spent());
    EXPECT_EQ(buyer.debits_pending, 0u);
    EXPECT_LE(static_cast<i64>(buyer.debits_posted), budget);
    EXPECT_EQ(a.shared().find_account(kPayee).value()->credits_posted, buyer.debits_posted);
    for (Service* service : {&a.shared(), &b.shared(), &a.own(), &b.own()}) {
      Result<AuditReport> audit = service->audit();
      EXPECT_TRUE(audit.ok()) << audit.error().message;
    }
  }

  static inline std::unique_ptr<PostgresServer> server_;
  static inline std::string why_;
  static inline int databases_ = 0;
  std::string database_;
};

TEST_F(LeasePostgresTest, APartitionStopsNobodyAndChargesNothingTwice) {
  constexpr i64 kBudget = 1'000'000'000;
  fund(kBudget);
  SocketProxy near(server_->socket_path());
  SocketProxy far(server_->socket_path());
  auto through = [&](const SocketProxy& proxy) {
    return "host=" + proxy.folder() + " user=tokengrid dbname=" + database_;
  };
  Gateway a("near", through(near), 100'000'000);
  Gateway b("far", through(far), 100'000'000);
  a.start();
  b.start();
  ASSERT_TRUE(a.goes_on(0) && b.goes_on(0));
  for (int round = 0; round < 3; ++round) {
    // First one is cut off, then the other, then both.
    if (round != 1) near.part();
    if (round != 0) far.part();
    sleep_ms(60);
    EXPECT_TRUE(a.goes_on(a.spent()) && b.goes_on(b.spent())) << "round " << round;
    sleep_ms(200);
    near.join();
    far.join();
    sleep_ms(200);
  }
  a.stop();
  b.stop();
  EXPECT_GT(near.parted_connections() + far.parted_connections(), 2);
  expect_settled(a, b, kBudget);
}

TEST_F(LeasePostgresTest, ABudgetHoldsThroughAPartition) {
  constexpr i64 kBudget = 3'000;
  fund(kBudget);
  SocketProxy far(server_->socket_path());
  Gateway a("near", server_->address(database_), 1'000);
  Gateway b("far", "host=" + far.folder() + " user=tokengrid dbname=" + database_, 1'000);
  std::atomic<bool> is_over{false};
  std::thread cutter([&] {
    while (!is_over) {
      far.part();
      sleep_ms(70);
      far.join();
      // Until it has got through once, and a little longer.
      i64 before = b.spent();
      for (int i = 0; i < 80 && !is_over && b.spent() == before; ++i) sleep_ms(25);
      sleep_ms(50);
    }
  });
  a.start();
  b.start();
  for (int i = 0; i < 600 && (b.spent() == 0 || a.spent() + b.spent() < kBudget / 2); ++i)
    sleep_ms(25);
  is_over = true;
  cutter.join();
  a.stop();
  b.stop();
  EXPECT_GE(a.spent() + b.spent(), kBudget / 2);
  EXPECT_GT(b.spent(), 0);
  expect_settled(a, b, kBudget);
}

TEST_F(LeasePostgresTest, AServerThatIsKilledAndComesBackLosesNothing) {
  constexpr i64 kBudget = 1'000'000'000;
  fund(kBudget);
  Gateway a("one", server_->address(database_), 100'000'000);
  Gateway b("two", server_->address(database_), 100'000'000);
  a.start();
  b.start();
  ASSERT_TRUE(a.goes_on(0) && b.goes_on(0));
  ASSERT_TRUE(server_->kill_server());
  EXPECT_TRUE(a.goes_on(a.spent()) && b.goes_on(b.spent()));
  ASSERT_TRUE(server_->start_server());
  sleep_ms(150);
  a.stop();
  b.stop();
  expect_settled(a, b, kBudget);
}

TEST_F(LeasePostgresTest, ManyAccountsAreSettledTogether) {
  fund(1'000'000);
  constexpr u128 kFirst = 100;
  constexpr u128 kAccounts = 500;
  SystemClock clock;
  OsRandom random;
  SimulatedMedium medium(1);
  std::unique_ptr<Service> own =
      std::move(
          Service::open(LogStore::over(std::move(AppendFile::over(medium.open())).value()), clock))
          .value();
  std::unique_ptr<Service> shared =
      std::move(
          Service::open(std::move(PostgresStore::open(server_->address(database_))).value(), clock))
          .value();
  Request funding;
  std::vector<LeaseAsk> asks;
  Request spending;
  for (u128 id = kFirst; id < kFirst + kAccounts; ++id) {
    funding.accounts.push_back(test_account(id, account_flag::kDebitsMustNotExceedCredits));
    funding.transfers.push_back(test_transfer(id, kWash, id, 1'000));
    asks.push_back({.account = id, .wish = {.wanted = 100}});
    spending.transfers.push_back(test_transfer(id, id, kPayee, 70));
  }
  ASSERT_TRUE(shared->execute(funding).succeeded());
  LeaseKeeper keeper(*own, *shared, clock, random,
                     {.gateway = "many", .payee = kPayee, .amount = 100});
  ASSERT_TRUE(keeper.renew(asks).ok());
  ASSERT_TRUE(own->execute(spending).succeeded());
  i64 before_ns = clock.monotonic_ns();
  std::vector<LeaseReport> reports = keeper.renew(asks).value();
  i64 took_us = (clock.monotonic_ns() - before_ns) / 1'000;
  for (const LeaseReport& report : reports) {
    EXPECT_EQ(report.settled, 70u);
    EXPECT_EQ(report.free, 100u);
  }
  EXPECT_EQ(shared->find_account(kPayee).value()->credits_posted, 70 * kAccounts);
  std::printf("a round of %zu accounts took %lld us\n", asks.size(),
              static_cast<long long>(took_us));
}

}  // namespace
}  // namespace tg::ledger
