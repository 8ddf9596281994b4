// Files and batches belong to who made them, and a batch's results survive until they are a file.
#include "gateway/batch/batch_book.h"

#include <gtest/gtest.h>

#include "ledger/temporary_folder_testing.h"

namespace tg::gateway {
namespace {

class BatchBookTest : public testing::Test {
 protected:
  void reopen() {
    book_.reset();
    book_ = BatchBook::open(folder_.path()).value();
  }
  void put(const std::string& id, const std::string& owner, const std::string& content = "x") {
    StoredFile file{.id = id, .owner = owner, .filename = "f", .purpose = "batch", .created_s = 1};
    ASSERT_TRUE(book_->put_file(file, content).ok());
  }

  ledger::TemporaryFolder folder_;
  std::unique_ptr<BatchBook> book_ = BatchBook::open(folder_.path()).value();
};

TEST_F(BatchBookTest, FilesBelongToTheirOwner) {
  put("file-1", "a", std::string("\0\n", 2));
  EXPECT_EQ(book_->content("file-1", "a").value(), std::string("\0\n", 2));
  EXPECT_EQ(book_->file("file-1", "a")->bytes, 2);
  EXPECT_EQ(book_->file("file-1", "b").error().code, Code::kNotFound);
  EXPECT_EQ(book_->erase_file("file-1", "b").error().code, Code::kNotFound);
  EXPECT_TRUE(book_->files("b", {})->empty());
  ASSERT_TRUE(book_->erase_file("file-1", "a").ok());
  EXPECT_EQ(book_->content("file-1", "a").error().code, Code::kNotFound);
}

TEST_F(BatchBookTest, ListsPages) {
  for (int i = 0; i < 5; ++i) put("file-" + std::to_string(i), "a");
  std::vector<StoredFile> first = book_->files("a", {.limit = 2}).value();
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(first[0].id, "file-4");
  std::vector<StoredFile> last = book_->files("a", {.after = "file-1", .limit = 2}).value();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].id, "file-0");
  EXPECT_EQ(book_->files("a", {.limit = 1, .is_ascending = true})->at(0).id, "file-0");
  EXPECT_TRUE(book_->files("a", {.purpose = "batch_output"})->empty());
}

TEST_F(BatchBookTest, FilesGoWhenTheirTimeIsUpUnlessABatchReadsThem) {
  for (std::string id : {"file-1", "file-2", "file-3"}) {
    StoredFile file{.id = id, .owner = "a", .purpose = "batch", .created_s = 1};
    file.expires_s = id == "file-3" ? 200 : 100;
    ASSERT_TRUE(book_->put_file(file, "x").ok());
  }
  put("file-4", "a");
  Batch batch{.id = "batch_1", .owner = "a", .input_file = "file-2", .output_life_s = 7};
  ASSERT_TRUE(book_->put_batch(batch).ok());
  reopen();
  EXPECT_EQ(book_->file("file-1", "a")->expires_s, 100);
  EXPECT_EQ(book_->file("file-4", "a")->expires_s, 0);
  ASSERT_TRUE(book_->erase_expired(99).ok());
  EXPECT_EQ(book_->files("a", {})->size(), 4u);
  ASSERT_TRUE(book_->erase_expired(100).ok());
  EXPECT_EQ(book_->file("file-1", "a").error().code, Code::kNotFound);
  EXPECT_EQ(book_->files("a", {})->size(), 3u);
  batch = book_->batch("batch_1", "a").value();
  EXPECT_EQ(batch.output_life_s, 7);
  batch.enter(BatchStatus::kCancelled, 5);
  ASSERT_TRUE(book_->update(batch).ok());
  ASSERT_TRUE(book_->erase_expired(300).ok());
  ASSERT_EQ(book_->files("a", {})->size(), 1u);
  EXPECT_EQ(book_->files("a", {})->at(0).id, "file-4");
}

TEST_F(BatchBookTest, RefusesWhatIsTooMuch) {
  std::string large(std::size_t{600} << 20, 'x');
  put("file-1", "a", large);
  StoredFile file{.id = "file-2", .owner = "a", .purpose = "batch"};
  EXPECT_EQ(book_->put_file(file, large).error().code, Code::kLimit);
  file.owner = "b";
  EXPECT_TRUE(book_->put_file(file, "x").ok());
}

TEST_F(BatchBookTest, GoesOnWhereItWas) {
  Batch batch{.id = "batch_1",
              .owner = "a",
              .key = "key_1",
              .endpoint = "/v1/completions",
              .input_file = "file-1",
              .total = 3,
              .expires_s = 9};
  batch.enter(BatchStatus::kValidating, 1);
  ASSERT_TRUE(book_->put_batch(batch).ok());
  batch.enter(BatchStatus::kInProgress, 2);
  ASSERT_TRUE(book_->update(batch).ok());
  ASSERT_TRUE(
      book_->put_result("batch_1", {.line = 3, .text = "c", .usage = {.input_tokens = 5}}).ok());
  ASSERT_TRUE(
      book_->put_result("batch_1", {.line = 1, .text = "a", .usage = {.input_tokens = 7}}).ok());
  ASSERT_TRUE(book_->put_result("batch_1", {.line = 2, .is_failure = true, .text = "b"}).ok());
  // A second one of a line is not kept.
  ASSERT_TRUE(book_->put_result("batch_1", {.line = 1, .text = "other"}).ok());
  reopen();
  std::vector<Batch> open = book_->open_batches().value();
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0].status, BatchStatus::kInProgress);
  EXPECT_EQ(open[0].entered_s[2], 2);
  EXPECT_EQ(book_->lines_done("batch_1").value(), (std::vector<i64>{1, 2, 3}));
  open[0].enter(BatchStatus::kCompleted, 4);
  ASSERT_TRUE(book_
                  ->finish(open[0], {.id = "file-o", .owner = "a", .purpose = "batch_output"},
                           {.id = "file-e", .owner = "a", .purpose = "batch_output"})
                  .ok());
  EXPECT_EQ(book_->content("file-o", "a").value(), "a\nc\n");
  EXPECT_EQ(book_->content("file-e", "a").value(), "b\n");
  Batch done = book_->batch("batch_1", "a").value();
  EXPECT_EQ(done.completed, 2);
  EXPECT_EQ(done.failed, 1);
  EXPECT_EQ(done.usage.input_tokens, 12);
  EXPECT_TRUE(book_->open_batches()->empty());
  EXPECT_EQ(book_->batch("batch_1", "b").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace tg::gateway
