// What an idempotency key means at each point of its request's life, over restarts too.
#include "gateway/once/reply_book.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "ledger/temporary_folder_testing.h"

namespace tg::gateway {
namespace {

using State = ReplyBook::Begun::State;

class ReplyBookTest : public testing::Test {
 protected:
  void reopen(i64 bytes_max = ReplyBook::kBytesMax) {
    book_.reset();
    book_ = ReplyBook::open(folder_.path(), bytes_max).value();
  }
  ReplyBook::Begun begin(std::string_view key, std::string_view body, std::string_view id,
                         i64 now_ns = 0) {
    return book_->begin(sha256(key), sha256(body), id, Timestamp{now_ns}).value();
  }

  ledger::TemporaryFolder folder_;
  std::unique_ptr<ReplyBook> book_ = ReplyBook::open(folder_.path()).value();
};

TEST_F(ReplyBookTest, TheSameReplyAgainAlsoAfterARestart) {
  EXPECT_EQ(begin("k", "b", "req_1").state, State::kNew);
  ASSERT_TRUE(book_->charge(sha256("k")).ok());
  std::string body("a\0b\n", 4);
  ASSERT_TRUE(book_
                  ->finish(sha256("k"), {.status = 200,
                                         .content_type = "application/json",
                                         .headers = {{"x-a", "1:2"}, {"x-b", ""}},
                                         .body = body})
                  .ok());
  for (int i = 0; i < 2; ++i) {
    ReplyBook::Begun again = begin("k", "b", "req_2");
    EXPECT_EQ(again.state, State::kDone);
    EXPECT_EQ(again.request_id, "req_1");
    EXPECT_EQ(again.reply.body, body);
    EXPECT_EQ(again.reply.headers.size(), 2u);
    EXPECT_EQ(again.reply.headers[0].second, "1:2");
    reopen();
  }
}

TEST_F(ReplyBookTest, AnotherBodyIsAConflictAtEveryStage) {
  begin("k", "b", "req_1");
  EXPECT_EQ(begin("k", "c", "req_2").state, State::kConflict);
  ASSERT_TRUE(book_->charge(sha256("k")).ok());
  EXPECT_EQ(begin("k", "c", "req_2").state, State::kConflict);
  ASSERT_TRUE(book_->finish(sha256("k"), {}).ok());
  EXPECT_EQ(begin("k", "c", "req_2").state, State::kConflict);
  EXPECT_EQ(begin("k2", "c", "req_2").state, State::kNew);
}

TEST_F(ReplyBookTest, WhatCostNothingIsBegunAgain) {
  begin("k", "b", "req_1");
  reopen();
  ReplyBook::Begun again = begin("k", "b", "req_2");
  EXPECT_EQ(again.state, State::kNew);
  EXPECT_EQ(again.request_id, "req_2");
  ASSERT_TRUE(book_->drop(sha256("k")).ok());
  EXPECT_EQ(begin("k", "another", "req_3").state, State::kNew);
}

TEST_F(ReplyBookTest, WhatMayHaveBeenChargedIsNeverRunAgain) {
  begin("k", "b", "req_1");
  ASSERT_TRUE(book_->charge(sha256("k")).ok());
  reopen();
  ReplyBook::Begun again = begin("k", "b", "req_2");
  EXPECT_EQ(again.state, State::kInterrupted);
  EXPECT_EQ(again.request_id, "req_1");
}

TEST_F(ReplyBookTest, ForgetsAfterADayAndWhenFull) {
  begin("k", "b", "req_1", 1);
  ASSERT_TRUE(book_->finish(sha256("k"), {.body = std::string(1'000, 'x')}).ok());
  EXPECT_EQ(begin("k", "b", "req_2", ReplyBook::kAgeNsMax).state, State::kDone);
  EXPECT_EQ(begin("k", "b", "req_2", 2 * ReplyBook::kAgeNsMax).state, State::kNew);
  reopen(500);
  ASSERT_TRUE(book_->finish(sha256("k"), {.body = std::string(1'000, 'x')}).ok());
  begin("k2", "b", "req_3", 2 * ReplyBook::kAgeNsMax);
  EXPECT_EQ(begin("k", "b", "req_4", 2 * ReplyBook::kAgeNsMax).state, State::kNew);
}

TEST_F(ReplyBookTest, IsPrivate) {
  struct stat info = {};
  ASSERT_EQ(::stat((folder_.path() + "/replies.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace tg::gateway
