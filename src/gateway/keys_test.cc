// The key store: creation, authentication, revocation seen across connections, and its file.
#include "gateway/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

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

  std::string folder_;
  SeededRandom random_{7};
  ManualClock clock_;
};

TEST_F(KeysTest, AuthenticatesWhatItCreated) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "laptop", .account = "alice"}, clock_.now()).value();
  EXPECT_EQ(made.plaintext.size(), 67u);
  EXPECT_EQ(made.plaintext.substr(0, 11), made.info.prefix);
  std::optional<KeyInfo> found = keys->authenticate(made.plaintext, clock_.now());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "laptop");
  EXPECT_EQ(found->account_name, "alice");
  EXPECT_TRUE(found->account == keys->accounts().value().at(0).id);
  std::string wrong = made.plaintext;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  EXPECT_FALSE(keys->authenticate(wrong, clock_.now()).has_value());
  EXPECT_FALSE(keys->authenticate("", clock_.now()).has_value());
}

TEST_F(KeysTest, KeysOfOneAccountShareItsLedgerId) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey a = keys->create({.name = "a", .account = "team"}, clock_.now()).value();
  CreatedKey b = keys->create({.name = "b", .account = "team"}, clock_.now()).value();
  CreatedKey c = keys->create({.name = "c", .account = "others"}, clock_.now()).value();
  EXPECT_TRUE(a.info.account == b.info.account);
  EXPECT_FALSE(a.info.account == c.info.account);
  EXPECT_TRUE(keys->ensure_account("team").value().id == a.info.account);
  EXPECT_EQ(keys->list().value().size(), 3u);
}

TEST_F(KeysTest, ChangesByAnotherConnectionAreSeenWithinASecond) {
  std::unique_ptr<KeyStore> server = open();
  std::unique_ptr<KeyStore> cli = open();
  CreatedKey made = cli->create({.name = "k", .account = "a"}, clock_.now()).value();
  clock_.advance_ns(kSecond);
  EXPECT_TRUE(server->authenticate(made.plaintext, clock_.now()).has_value());
  ASSERT_TRUE(cli->revoke(made.info.id, clock_.now()).ok());
  clock_.advance_ns(kSecond);
  EXPECT_FALSE(server->authenticate(made.plaintext, clock_.now()).has_value());
  EXPECT_TRUE(server->list().value().at(0).revoked.has_value());
}

TEST_F(KeysTest, SurvivesReopening) {
  std::string key = open()->create({.name = "k", .account = "a"}, clock_.now()).value().plaintext;
  EXPECT_TRUE(open()->authenticate(key, clock_.now()).has_value());
}

TEST_F(KeysTest, RevokesByIdOrPrefixOnce) {
  std::unique_ptr<KeyStore> keys = open();
  CreatedKey made = keys->create({.name = "k", .account = "a"}, clock_.now()).value();
  ASSERT_TRUE(keys->revoke(made.info.prefix, Timestamp{5}).ok());
  ASSERT_TRUE(keys->revoke(made.info.id, Timestamp{9}).ok());
  EXPECT_EQ(keys->list().value().at(0).revoked->ns, 5);
  EXPECT_FALSE(keys->authenticate(made.plaintext, clock_.now()).has_value());
  Status missing = keys->revoke("key_none", clock_.now());
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

TEST_F(KeysTest, Expires) {
  std::unique_ptr<KeyStore> keys = open();
  Timestamp end{clock_.now().ns + 10 * kSecond};
  CreatedKey made =
      keys->create({.name = "k", .account = "a", .expires = end}, clock_.now()).value();
  EXPECT_TRUE(keys->authenticate(made.plaintext, clock_.now()).has_value());
  clock_.advance_ns(10 * kSecond);
  EXPECT_FALSE(keys->authenticate(made.plaintext, clock_.now()).has_value());
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
