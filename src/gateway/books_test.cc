// The books' commands, in-process and over the control socket.
#include "gateway/books.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "gateway/control.h"
#include "ledger/sqlite_store.h"

namespace tg::gateway {
namespace {

class BooksTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_books_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    ledger_ = ledger::Service::open(ledger::SqliteStore::open(folder_).value(), clock_).value();
    books_ = std::make_unique<Books>(*ledger_, clock_, random_);
    ASSERT_TRUE(books_->prepare().ok());
  }
  void TearDown() override {
    books_.reset();
    ledger_.reset();
    std::filesystem::remove_all(folder_);
  }
  nlohmann::json ask(const std::string& line) {
    return nlohmann::json::parse(books_->answer(line));
  }

  std::string folder_;
  SystemClock clock_;
  SeededRandom random_{1};
  std::unique_ptr<ledger::Service> ledger_;
  std::unique_ptr<Books> books_;
  const std::string account_ = to_hex(u128{42});
};

TEST_F(BooksTest, TopUpsAddUpAndTheSumStaysZero) {
  EXPECT_EQ(ask("topup " + account_ + " 1000")["balance_nst"], 1000);
  EXPECT_EQ(ask("topup " + account_ + " 500")["balance_nst"], 1500);
  EXPECT_EQ(ask("show " + account_)["granted_nst"], 1500);
  nlohmann::json audit = ask("audit");
  EXPECT_EQ(audit["sum_nst"], 0);
  EXPECT_EQ(audit["accounts"], 6);
}

TEST_F(BooksTest, RefusesWithOneLine) {
  ask("ensure " + account_);
  struct Case {
    std::string line;
    const char* names;
  };
  for (const Case& c :
       {Case{"", "empty"}, Case{"frobnicate", "frobnicate"}, Case{"show xyz", "32 hex"},
        Case{"show " + to_hex(u128{9}), "no ledger account"},
        Case{"topup " + account_ + " -5", "-5"}, Case{"topup " + account_ + " 0", "out of range"},
        Case{"topup " + account_, "topup"}, Case{"transfer " + account_, "no ledger transfer"},
        Case{"receipts x", "'x'"}}) {
    nlohmann::json answer = ask(c.line);
    ASSERT_TRUE(answer.contains("error")) << c.line;
    EXPECT_NE(answer["error"].get<std::string>().find(c.names), std::string::npos) << answer.dump();
  }
  ask("topup " + account_ + " 1000000000000000000");
  for (int i = 0; i < 8; ++i) ask("topup " + account_ + " 1000000000000000000");
  EXPECT_TRUE(ask("topup " + account_ + " 1000000000000000000").contains("error"));
}

TEST_F(BooksTest, AnswersOverTheControlSocketToItsOwnerOnly) {
  std::string path = folder_ + "/control.sock";
  EXPECT_EQ(ask_control(path, "audit").error().code, Code::kUnavailable);
  {
    std::unique_ptr<ControlServer> server = ControlServer::start(path, *books_).value();
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    EXPECT_EQ(nlohmann::json::parse(ask_control(path, "audit").value())["sum_nst"], 0);
    // Longer than any command: the server hangs up instead of reading on.
    EXPECT_FALSE(ask_control(path, std::string(100'000, 'x')).ok());
    EXPECT_TRUE(ask_control(path, "audit").ok());
  }
  EXPECT_EQ(ask_control(path, "audit").error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace tg::gateway
