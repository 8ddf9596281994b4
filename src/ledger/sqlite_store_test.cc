// The SQLite store: what was committed is there again, damage is named, one process at a time.
#include "ledger/sqlite_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "env/random.h"
#include "env/seed_testing.h"
#include "ledger/ledger_testing.h"
#include "ledger/store_run_testing.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

constexpr Timestamp kNow{1'000'000'000'000};

// Runs SQL on a closed store, as damage would.
void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  char* message = nullptr;
  int result = sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &message);
  EXPECT_EQ(result, SQLITE_OK) << (message == nullptr ? "" : message);
  sqlite3_free(message);
  sqlite3_close(handle);
}

class SqliteStoreTest : public testing::Test {
 protected:
  std::unique_ptr<SqliteStore> open() {
    Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
    EXPECT_TRUE(store.ok()) << store.error().message;
    return std::move(store).value();
  }
  static void commit(Store& store, StateMachine& machine) {
    Effects effects;
    machine.take_effects(effects);
    Status status = store.commit(effects, {});
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  // Three accounts, an open hold, a burned id, a released hold, wide values.
  static void fill(Store& store, StateMachine& machine) {
    Account rich{.id = ~u128{0},
                 .owner = u128{7} << 100,
                 .expires_ns = -5,
                 .ledger = UINT32_MAX,
                 .product = UINT32_MAX,
                 .code = UINT16_MAX,
                 .flags = account_flag::kCreditsMustNotExceedDebits};
    machine.create_account(test_account(1), kNow);
    machine.create_account(test_account(2, account_flag::kDebitsMustNotExceedCredits), kNow);
    machine.create_account(rich, kNow);
    commit(store, machine);
    Transfer wide = test_transfer(u128{1} << 127, 1, 2, u128{1} << 126);
    wide.correlation = ~u128{0} - 1;
    wide.reference = UINT64_MAX;
    wide.sequence = UINT32_MAX;
    Transfer due = test_transfer(5, 2, 1, 7, transfer_flag::kPending);
    due.timeout_ms = 1;
    std::vector<Transfer> batch{wide, test_transfer(3, 2, 1, 9, transfer_flag::kPending),
                                test_transfer(4, 2, 1, u128{1} << 126), due};
    std::vector<TransferStatus> statuses;
    machine.apply(batch, kNow, statuses);
    ASSERT_EQ(statuses[2], TransferStatus::kExceedsCredits);
    commit(store, machine);
    ASSERT_EQ(machine.expire(Timestamp{kNow.ns + 1'000'000}), 1);
    machine.close_account(1, kNow);
    commit(store, machine);
  }
  void fill_and_close() {
    std::unique_ptr<SqliteStore> store = open();
    StateMachine machine;
    ASSERT_TRUE(store->load(machine).ok());
    fill(*store, machine);
  }
  std::string path() const { return folder_.path() + "/" + kSqliteFileName; }
  // The error of opening and loading; "" if it went well.
  std::string reopen_error() {
    Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
    if (!store.ok()) return store.error().message;
    StateMachine machine;
    Result<AuditReport> report = (*store)->load(machine);
    if (report.ok()) return "";
    EXPECT_EQ(report.error().code, Code::kCorrupt);
    return report.error().message;
  }

  TemporaryFolder folder_;
};

TEST_F(SqliteStoreTest, ReopensToTheSameState) {
  StateMachine machine;
  {
    std::unique_ptr<SqliteStore> store = open();
    Result<AuditReport> empty = store->load(machine);
    ASSERT_TRUE(empty.ok());
    EXPECT_EQ(empty->journal_entries, 0u);
    fill(*store, machine);
    Result<AuditReport> audit = store->audit(&machine);
    ASSERT_TRUE(audit.ok()) << audit.error().message;
    EXPECT_EQ(audit->accounts, 3);
    EXPECT_EQ(audit->journal_entries, 5u);
    EXPECT_EQ(audit->holds_open, 1);
    EXPECT_EQ(audit->commits, 2);
  }
  std::unique_ptr<SqliteStore> store = open();
  StateMachine again;
  ASSERT_TRUE(store->load(again).ok());
  EXPECT_EQ(difference(machine, again), "");
  // And it goes on from there.
  std::vector<TransferStatus> statuses;
  Transfer post{
      .id = 9, .amount = 8, .pending_id = 3, .code = 11, .flags = transfer_flag::kPostPending};
  again.apply({&post, 1}, kNow, statuses);
  EXPECT_EQ(statuses[0], TransferStatus::kOk);
  commit(*store, again);
  EXPECT_TRUE(store->audit(&again).ok());
}

TEST_F(SqliteStoreTest, DocumentsStayAsFirstWritten) {
  std::unique_ptr<SqliteStore> store = open();
  StateMachine machine;
  ASSERT_TRUE(store->load(machine).ok());
  Document first{.id = 1, .bytes = std::string("a\0b", 3)};
  Document other{.id = 1, .bytes = "else"};
  Document empty{.id = 2, .bytes = ""};
  std::vector<DocumentWrite> writes{{&first}, {&first}, {&other}, {&empty}};
  ASSERT_TRUE(store->commit({}, writes).ok());
  EXPECT_EQ(writes[0].status, DocumentStatus::kOk);
  EXPECT_EQ(writes[1].status, DocumentStatus::kExists);
  EXPECT_EQ(writes[2].status, DocumentStatus::kExistsWithDifferentBytes);
  EXPECT_EQ(writes[3].status, DocumentStatus::kOk);
  store.reset();
  store = open();
  EXPECT_EQ(store->read_document(1).value(), first.bytes);
  EXPECT_EQ(store->read_document(2).value(), "");
  EXPECT_EQ(store->read_document(3).error().code, Code::kNotFound);
  std::vector<StoredDocument> all = store->documents_after(0, 10).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].sequence, 2u);
  EXPECT_EQ(store->documents_after(1, 10).value().size(), 1u);
  EXPECT_EQ(store->documents_after(0, 1).value().size(), 1u);
  EXPECT_TRUE(store->documents_after(UINT64_MAX, 1).value().empty());
}

TEST_F(SqliteStoreTest, ASecondOpenerIsRefusedByName) {
  std::unique_ptr<SqliteStore> store = open();
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Result<std::unique_ptr<SqliteStore>> second = SqliteStore::open(folder_.path());
    bool is_refused =
        !second.ok() && second.error().code == Code::kUnavailable &&
        second.error().message == "ledger " + path() + " is in use by another process";
    _exit(is_refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SqliteStoreTest, EveryKindOfDamageIsNamed) {
  fill_and_close();
  ASSERT_EQ(reopen_error(), "");
  struct Damage {
    const char* sql;
    const char* undo;
    const char* expected;
  };
  const Damage kDamages[] = {
      {"UPDATE accounts SET debits_posted=x'00000000000000000000000000000001' WHERE number=2",
       "UPDATE accounts SET debits_posted=zeroblob(16) WHERE number=2", "balances differ"},
      {"UPDATE accounts SET owner=x'01' WHERE number=3", "", "account row 3 is damaged"},
      {"UPDATE journal SET correlation=zeroblob(16) WHERE position=1", "",
       "digest of the commit that ends at journal entry 4"},
      {"UPDATE journal SET amount=x'00' WHERE position=2", "", "journal row 2 is damaged"},
      {"UPDATE journal SET code=-1 WHERE position=2", "", "journal row 2 is damaged"},
      {"UPDATE journal SET kind=9 WHERE position=2", "", "journal row 2 is damaged"},
      {"UPDATE journal SET debit_account=zeroblob(16) WHERE position=1", "",
       "debit_account_must_not_be_zero"},
      {"DELETE FROM journal WHERE position=2", "", "journal row 2 is damaged"},
      {"DELETE FROM journal WHERE position=5", "", "journal ends at entry 4"},
      {"DELETE FROM commits WHERE position=5", "", "journal ends at entry 5"},
      {"DELETE FROM accounts WHERE number=2", "", "account row 2 is damaged"},
      {"PRAGMA user_version=2", "", "schema version 2, this build knows 1"},
      {"PRAGMA application_id=5", "", "not a ledger file"},
      {"DROP TABLE journal", "", "no such table: journal"},
  };
  std::string good = folder_.path() + "/good";
  std::filesystem::copy_file(path(), good);
  for (const Damage& damage : kDamages) {
    std::filesystem::copy_file(good, path(), std::filesystem::copy_options::overwrite_existing);
    run_sql(path(), damage.sql);
    std::string error = reopen_error();
    EXPECT_NE(error.find(damage.expected), std::string::npos) << damage.sql << ": " << error;
  }
}

TEST_F(SqliteStoreTest, ForeignAndTruncatedFilesAreRefused) {
  fill_and_close();
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);
  EXPECT_NE(reopen_error(), "");
  std::ofstream(path(), std::ios::trunc) << std::string(8192, 'x');
  Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().code, Code::kCorrupt) << store.error().message;
  EXPECT_NE(store.error().message.find(path()), std::string::npos);
}

// No flipped bit crashes the load or changes a balance unnoticed.
TEST_F(SqliteStoreTest, FlippedBitsNeverChangeABalanceUnnoticed) {
  fill_and_close();
  std::string good = folder_.path() + "/good";
  std::filesystem::copy_file(path(), good);
  StateMachine reference;
  ASSERT_TRUE(open()->load(reference).ok());
  u64 size = std::filesystem::file_size(good);
  SeededRandom random(3);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::filesystem::copy_file(good, path(), std::filesystem::copy_options::overwrite_existing);
    {
      std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
      std::streamoff at = static_cast<std::streamoff>(random.below(size));
      file.seekg(at);
      char byte = static_cast<char>(file.get());
      file.seekp(at);
      file.put(static_cast<char>(byte ^ (1 << random.below(8))));
    }
    Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
    StateMachine machine;
    if (!store.ok() || !(*store)->load(machine).ok()) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(compare_journals(machine, reference).ok());
    ASSERT_EQ(machine.accounts().size(), reference.accounts().size());
    for (std::size_t a = 0; a < machine.accounts().size(); ++a) {
      EXPECT_TRUE(machine.accounts()[a].debits_posted == reference.accounts()[a].debits_posted);
      EXPECT_TRUE(machine.accounts()[a].credits_posted == reference.accounts()[a].credits_posted);
    }
  }
  // Most of a small file is unused; but some bits must have mattered.
  EXPECT_GT(refused, 0);
}

TEST_F(SqliteStoreTest, AFullDiskIsAnErrorAndLosesNothing) {
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    StateMachine machine;
    Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(folder_.path());
    if (!store.ok() || !(*store)->load(machine).ok()) _exit(10);
    machine.create_account(test_account(1), kNow);
    machine.create_account(test_account(2), kNow);
    rlimit limit{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(11);
    Effects effects;
    std::vector<TransferStatus> statuses;
    for (u128 id = 1; id < 100'000; ++id) {
      Transfer t = test_transfer(id, 1, 2, 1);
      machine.apply({&t, 1}, kNow, statuses);
      machine.take_effects(effects);
      Status status = (*store)->commit(effects, {});
      if (status.ok()) continue;
      Status after = (*store)->commit(effects, {});
      _exit(status.error().code == Code::kIo && !after.ok() && id > 10 ? 0 : 12);
    }
    _exit(13);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(reopen_error(), "");
}

TEST_F(SqliteStoreTest, AFolderThatIsAFileIsRefused) {
  std::string file = folder_.path() + "/file";
  std::ofstream(file) << "x";
  EXPECT_FALSE(SqliteStore::open(file).ok());
}

// The same lives that the log and PostgreSQL live through; here only the process ends.
TEST(LedgerProperty, SqliteLivesThroughRestarts) {
  class World final : public StoreWorld {
   public:
    Result<std::unique_ptr<Store>> open() override {
      TG_ASSIGN(std::unique_ptr<SqliteStore> store, SqliteStore::open(folder_.path()));
      return std::unique_ptr<Store>(std::move(store));
    }

    bool counts_every_commit() const override { return false; }

   private:
    TemporaryFolder folder_;
  };
  for (u64 seed = first_seed(); seed < first_seed() + 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world;
    StoreRunCounts counts;
    StoreRun run(seed, world);
    run.run(80, counts);
    if (testing::Test::HasFatalFailure()) return;
    EXPECT_GT(counts.restarts, 2);
  }
}

}  // namespace
}  // namespace tg::ledger
