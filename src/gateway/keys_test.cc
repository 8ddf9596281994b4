// The key store: keys, units and budgets, what other connections see of them, and the file.
#include "gateway/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/bytes.h"
#include "gateway/access/directory_feed.h"
#include "gateway/sqlite.h"

namespace tg::gateway {
namespace {

constexpr i64 kSecond = 1'000'000'000;

class KeysTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_keys_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<KeyStore> open() { return KeyStore::open(folder_, random_).value(); }
  // Who a key is, as the file says now.
  std::optional<KeyInfo> who(KeyStore& keys, std::string_view key) {
    return keys.load_directory().value()->find(key, clock_.now());
  }

  std::string folder_;
  SeededRandom random_{7};
  ManualClock clock_;
};

TEST_F(KeysTest, AuthenticatesWhatItCreated) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "laptop", .account = "alice"}, clock_.now()).value();
  EXPECT_EQ(made.plaintext.size(), 67u);
  EXPECT_EQ(made.plaintext.substr(0, 11), made.info.prefix);
  std::optional<KeyInfo> found = who(*keys, made.plaintext);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->id, made.info.id);
  EXPECT_TRUE(found->account == keys->accounts().value().at(0).id);
  const Standing& standing = *found->standing;
  EXPECT_EQ(standing.at(Level::kKey).name, "laptop");
  EXPECT_EQ(standing.at(Level::kProject).name, "alice");
  EXPECT_EQ(standing.at(Level::kOrganisation).name, "default");
  EXPECT_EQ(standing.scopes, ScopeSet::standard());
  EXPECT_EQ(standing.service, fleet::ServiceClass::kStandard);
  std::string wrong = made.plaintext;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  EXPECT_FALSE(who(*keys, wrong).has_value());
  EXPECT_FALSE(who(*keys, "").has_value());
}

TEST_F(KeysTest, KeysOfOneAccountShareItsLedgerIdAndProject) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey a = keys->create({.name = "a", .account = "team"}, clock_.now()).value();
  CreatedKey b = keys->create({.name = "b", .account = "team"}, clock_.now()).value();
  CreatedKey c = keys->create({.name = "c", .account = "others"}, clock_.now()).value();
  EXPECT_TRUE(a.info.account == b.info.account);
  EXPECT_EQ(a.info.project, b.info.project);
  EXPECT_FALSE(a.info.account == c.info.account);
  EXPECT_NE(a.info.project, c.info.project);
  EXPECT_TRUE(keys->ensure_account("team").value().id == a.info.account);
  EXPECT_EQ(keys->list().value().size(), 3u);
}

TEST_F(KeysTest, TheFeedSeesOthersChangesWithinASecond) {
  std::unique_ptr<DirectoryFeed> feed = DirectoryFeed::start(open()).value();
  std::unique_ptr<KeyStore> cli = open();
  auto becomes = [&](std::string_view key, bool is_known) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    while (feed->current()->find(key, clock_.now()).has_value() != is_known) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  };
  for (int i = 0; i < 5; ++i) {
    CreatedKey made = cli->create({.name = "k", .account = "a"}, clock_.now()).value();
    EXPECT_TRUE(becomes(made.plaintext, true));
    ASSERT_TRUE(cli->revoke(made.info.id, clock_.now()).ok());
    EXPECT_TRUE(becomes(made.plaintext, false));
  }
  CreatedKey made = cli->create({.name = "k", .account = "a"}, clock_.now()).value();
  u64 before = feed->version();
  feed->refresh();
  EXPECT_TRUE(feed->current()->find(made.plaintext, clock_.now()).has_value());
  EXPECT_GT(feed->version(), before);
}

TEST_F(KeysTest, SurvivesReopening) {
  std::string key = open()->create({.name = "k", .account = "a"}, clock_.now()).value().plaintext;
  EXPECT_TRUE(who(*open(), key).has_value());
}

TEST_F(KeysTest, RevokesByIdOrPrefixOnce) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  ASSERT_TRUE(keys->revoke(made.info.prefix, Timestamp{5}).ok());
  ASSERT_TRUE(keys->revoke(made.info.id, Timestamp{9}).ok());
  EXPECT_EQ(keys->list().value().at(0).revoked->ns, 5);
  EXPECT_FALSE(who(*keys, made.plaintext).has_value());
  Status missing = keys->revoke("key_none", clock_.now());
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

TEST_F(KeysTest, Expires) {
  std::unique_ptr<KeyStore> keys = open();
  Timestamp end{clock_.now().ns + 10 * kSecond};
  CreatedKey made =
      keys->create({.name = "k", .account = "a", .expires = end}, clock_.now()).value();
  EXPECT_TRUE(who(*keys, made.plaintext).has_value());
  clock_.advance_ns(10 * kSecond);
  EXPECT_FALSE(who(*keys, made.plaintext).has_value());
}

TEST_F(KeysTest, RotationLeavesBothSecretsValidForAWhile) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey first = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  CreatedKey second = keys->rotate(first.info.id, 10 * kSecond, clock_.now()).value();
  EXPECT_EQ(second.info.id, first.info.id);
  EXPECT_NE(second.plaintext, first.plaintext);
  EXPECT_EQ(who(*keys, first.plaintext)->id, first.info.id);
  EXPECT_EQ(who(*keys, second.plaintext)->id, first.info.id);
  CreatedKey third = keys->rotate(first.info.id, 5 * kSecond, clock_.now()).value();
  clock_.advance_ns(5 * kSecond);
  EXPECT_FALSE(who(*keys, first.plaintext).has_value()) << "a later rotation lengthens nothing";
  EXPECT_FALSE(who(*keys, second.plaintext).has_value());
  EXPECT_TRUE(who(*keys, third.plaintext).has_value());
  ASSERT_TRUE(keys->rotate(first.info.id, 60 * kSecond, clock_.now()).ok());
  ASSERT_TRUE(keys->revoke(first.info.id, clock_.now()).ok());
  EXPECT_FALSE(who(*keys, third.plaintext).has_value()) << "revoking ends former secrets too";
  EXPECT_FALSE(keys->rotate(first.info.id, 0, clock_.now()).ok());
  EXPECT_FALSE(keys->rotate(first.info.id, -1, clock_.now()).ok());
}

TEST_F(KeysTest, UnitsFormATreeWhosePoliciesReachTheKey) {
  std::unique_ptr<KeyStore> keys = open();
  Timestamp now = clock_.now();
  Unit org =
      keys->create_unit({.level = Level::kOrganisation, .name = "acme", .account = "acme"}, now)
          .value();
  Unit team =
      keys->create_unit({.level = Level::kTeam, .parent = "acme", .name = "lab"}, now).value();
  Unit web =
      keys->create_unit({.level = Level::kProject,
                         .parent = team.id,
                         .name = "web",
                         .policy = {.models = {"tiny*"}, .service = fleet::ServiceClass::kBatch}},
                        now)
          .value();
  CreatedKey key = keys->create({.name = "k",
                                 .account = "",
                                 .project = "acme/lab/web",
                                 .policy = {.limits = {.requests_per_minute = 3},
                                            .service = fleet::ServiceClass::kInteractive}},
                                now)
                       .value();
  EXPECT_EQ(key.info.account_name, "acme");
  EXPECT_EQ(key.info.project, web.id);
  std::shared_ptr<const Standing> standing = who(*keys, key.plaintext)->standing;
  EXPECT_EQ(standing->service, fleet::ServiceClass::kBatch) << "capped by the project";
  EXPECT_TRUE(standing->allows_model("tiny-1"));
  EXPECT_FALSE(standing->allows_model("big"));
  EXPECT_EQ(standing->at(Level::kKey).policy.limits.requests_per_minute, 3);
  EXPECT_EQ(standing->at(Level::kTeam).id, team.id);

  ASSERT_TRUE(keys->update_unit(Level::kOrganisation, org.id, {.is_suspended = true}, now).ok());
  EXPECT_EQ(who(*keys, key.plaintext)->standing->suspended()->name, "acme");
  ASSERT_TRUE(keys->update_unit(Level::kOrganisation, org.id, {.is_suspended = false}, now).ok());
  EXPECT_EQ(who(*keys, key.plaintext)->standing->suspended(), nullptr);

  Result<Unit> twice =
      keys->create_unit({.level = Level::kProject, .parent = team.id, .name = "web"}, now);
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code, Code::kExists);
  Unit other =
      keys->create_unit({.level = Level::kTeam, .parent = "acme", .name = "shop"}, now).value();
  ASSERT_TRUE(
      keys->create_unit({.level = Level::kProject, .parent = other.id, .name = "web"}, now).ok());
  EXPECT_FALSE(keys->find_unit(Level::kProject, "web").ok()) << "two have that name";
  EXPECT_EQ(keys->find_unit(Level::kProject, "shop/web").value().parent, other.id);
  EXPECT_FALSE(keys->update_unit(Level::kTeam, "shop", {.name = "lab"}, now).ok());
  EXPECT_FALSE(
      keys->create_unit({.level = Level::kTeam, .parent = "nobody", .name = "x"}, now).ok());
  EXPECT_FALSE(
      keys->create_unit({.level = Level::kTeam, .parent = "acme", .name = "a/b"}, now).ok());
}

TEST_F(KeysTest, KeysChange) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  constexpr Scope kRead[] = {Scope::kUsageRead};
  KeyRecord changed = keys->update(made.info.id, {.limits = RateLimits{.concurrent = 2},
                                                  .models = ModelPatterns{"x"},
                                                  .scopes = ScopeSet::of(kRead)})
                          .value();
  EXPECT_EQ(changed.policy.limits.concurrent, 2);
  std::shared_ptr<const Standing> standing = who(*keys, made.plaintext)->standing;
  EXPECT_FALSE(standing->scopes.has(Scope::kInference));
  EXPECT_FALSE(standing->allows_model("tiny"));
  EXPECT_FALSE(keys->update(made.info.id, {.limits = RateLimits{.concurrent = -1}}).ok());
  EXPECT_FALSE(keys->update(made.info.id, {.models = ModelPatterns{"a\nb"}}).ok());
}

TEST_F(KeysTest, BudgetsAreOneTotalAndOnePeriodic) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  const std::string& id = made.info.id;
  Budget day = keys->set_budget(id, BudgetPeriod::kDay, 100).value();
  EXPECT_EQ(day.generation, 0);
  EXPECT_EQ(keys->set_budget(id, BudgetPeriod::kDay, 200).value().generation, 0);
  Budget lowered = keys->set_budget(id, BudgetPeriod::kDay, 50).value();
  EXPECT_EQ(lowered.generation, 1);
  EXPECT_EQ(lowered.id, day.id);
  ASSERT_TRUE(keys->set_budget(id, BudgetPeriod::kTotal, 1'000).ok());
  ASSERT_TRUE(keys->set_budget(id, BudgetPeriod::kWeek, 300).ok());
  std::vector<Budget> all = keys->budgets(id).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].period, BudgetPeriod::kTotal);
  EXPECT_EQ(all[1].period, BudgetPeriod::kWeek);
  EXPECT_EQ(who(*keys, made.plaintext)->standing->at(Level::kKey).budgets.size(), 2u);
  ASSERT_TRUE(keys->remove_budget(id, BudgetPeriod::kWeek).ok());
  EXPECT_FALSE(keys->remove_budget(id, BudgetPeriod::kWeek).ok());
  EXPECT_FALSE(keys->set_budget(id, BudgetPeriod::kDay, -1).ok());
  EXPECT_FALSE(keys->set_budget("key_nothing", BudgetPeriod::kDay, 1).ok());
}

// A file as the first version wrote it.
TEST_F(KeysTest, FilesOfTheFirstVersionKeepWorking) {
  std::filesystem::create_directories(folder_);
  std::string key = "tg-" + std::string(64, 'a');
  {
    Database db = Database::open(folder_ + "/gateway.db", 100).value();
    ASSERT_TRUE(
        db.execute("CREATE TABLE accounts (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE) "
                   "WITHOUT ROWID; CREATE TABLE keys ("
                   "sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
                   "hash TEXT NOT NULL UNIQUE, prefix TEXT NOT NULL, name TEXT NOT NULL, "
                   "account TEXT NOT NULL REFERENCES accounts(name), "
                   "created_ns INTEGER NOT NULL, expires_ns INTEGER, revoked_ns INTEGER);"
                   "INSERT INTO accounts VALUES ('demo', '000102030405060708090a0b0c0d0e0f');"
                   "PRAGMA user_version = 1;")
            .ok());
    std::string insert = "INSERT INTO keys VALUES (1, 'key_00000000000000aa', '" +
                         to_hex(sha256(key)) + "', 'tg-aaaaaaaa', 'first', 'demo', 7, NULL, NULL)";
    ASSERT_TRUE(db.execute(insert.c_str()).ok());
  }
  std::unique_ptr<KeyStore> keys = open();
  std::optional<KeyInfo> found = who(*keys, key);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->account == id_from_hex("000102030405060708090a0b0c0d0e0f").value());
  EXPECT_EQ(found->standing->scopes, ScopeSet::standard());
  EXPECT_EQ(found->standing->at(Level::kProject).name, "demo");
  CreatedKey more = keys->create({.name = "second", .account = "demo"}, clock_.now()).value();
  EXPECT_EQ(more.info.project, keys->find("key_00000000000000aa").value().project);
  // A file of a later build is left alone.
  keys.reset();
  ASSERT_TRUE(Database::open(folder_ + "/gateway.db", 100)
                  .value()
                  .execute("PRAGMA user_version = 99")
                  .ok());
  Result<std::unique_ptr<KeyStore>> newer = KeyStore::open(folder_, random_);
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.error().code, Code::kUnsupported);
}

TEST_F(KeysTest, StoresNoKeyAndHidesTheFile) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  for (const char* name : {"/gateway.db", "/gateway.db-wal"}) {
    std::ifstream in(folder_ + name, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    EXPECT_EQ(bytes.find(made.plaintext.substr(11)), bytes.npos);
    struct stat info = {};
    ASSERT_EQ(::stat((folder_ + name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
}

TEST_F(KeysTest, RefusesBadNamesAndForeignFiles) {
  std::unique_ptr<KeyStore> keys = open();
  for (const std::string& name : {std::string(), std::string("a\nb"), std::string(129, 'x')}) {
    EXPECT_FALSE(keys->create({.name = name, .account = "a"}, clock_.now()).ok());
    EXPECT_FALSE(keys->create({.name = "k", .account = name}, clock_.now()).ok());
  }
  keys.reset();
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ + "/gateway.db") << std::string(4096, 'z');
  Result<std::unique_ptr<KeyStore>> broken = KeyStore::open(folder_, random_);
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace tg::gateway
