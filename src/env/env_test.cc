// Clock, random and disk doors, and mailboxes.
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <thread>

#include "base/bytes.h"
#include "env/clock.h"
#include "env/disk.h"
#include "env/mailbox.h"

namespace tg {
namespace {

TEST(Clock, PrintsRfc3339) {
  EXPECT_EQ(to_rfc3339(Timestamp{1'767'225'600'120'000'000}), "2026-01-01T00:00:00.120Z");
}

TEST(Disk, WritesAtomicallyAndReadsWithALimit) {
  std::string folder = testing::TempDir() + "tg_env_test";
  ASSERT_TRUE(ensure_writable_directory(folder).ok());
  std::string path = folder + "/file";
  ASSERT_TRUE(write_file_durably(path, as_bytes("one"), 0600).ok());
  ASSERT_TRUE(write_file_durably(path, as_bytes("two!"), 0600).ok());
  EXPECT_EQ(read_file(path, 100).value(), "two!");
  EXPECT_EQ(read_file(path, 3).error().code, Code::kLimit);
  EXPECT_EQ(as_text(MappedFile::open(path).value().bytes()), "two!");
  EXPECT_EQ(read_file(folder + "/none", 3).error().code, Code::kNotFound);
  EXPECT_FALSE(MappedFile::open(folder).ok());
  std::filesystem::remove_all(folder);
}

bool is_readable(int fd, int wait_ms) {
  pollfd watched{fd, POLLIN, 0};
  return ::poll(&watched, 1, wait_ms) == 1;
}

// One signal may stand for many values, and may come after its value was taken: nothing is lost.
TEST(Mailbox, WhoWatchesHearsOfEveryValueOfManyWriters) {
  constexpr i64 kWriters = 4;
  constexpr i64 kEach = 20'000;
  Mailbox<i64> mailbox(64);
  std::vector<std::thread> writers;
  for (i64 w = 0; w < kWriters; ++w) {
    writers.emplace_back([&mailbox] {
      for (i64 i = 0; i < kEach; ++i) ASSERT_TRUE(mailbox.push(i));
    });
  }
  std::vector<i64> values;
  std::size_t taken = 0;
  while (taken < static_cast<std::size_t>(kWriters * kEach)) {
    ASSERT_TRUE(is_readable(mailbox.fd(), 10'000)) << "after " << taken;
    values.clear();
    mailbox.drain(values);
    taken += values.size();
  }
  for (std::thread& writer : writers) writer.join();
  values.clear();
  mailbox.drain(values);
  EXPECT_TRUE(values.empty());
  EXPECT_FALSE(is_readable(mailbox.fd(), 0));
}

TEST(Mailbox, WhoWatchesLateSeesWhatWaits) {
  Mailbox<i64> mailbox(4);
  i64 one = 1;
  ASSERT_TRUE(mailbox.try_push(one));
  EXPECT_TRUE(is_readable(mailbox.fd(), 0));
  std::vector<i64> values;
  mailbox.drain(values);
  EXPECT_EQ(values, std::vector<i64>{1});
  EXPECT_FALSE(is_readable(mailbox.fd(), 0));
  mailbox.close();
  EXPECT_TRUE(is_readable(mailbox.fd(), 0));
  EXPECT_FALSE(mailbox.try_push(one));
}

}  // namespace
}  // namespace tg
