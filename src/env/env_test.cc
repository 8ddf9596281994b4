// Clock, random and disk doors, and mailboxes.
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/bytes.h"
#include "env/append_file.h"
#include "env/clock.h"
#include "env/deadlines.h"
#include "env/disk.h"
#include "env/mailbox.h"
#include "env/random.h"

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

TEST(AppendFile, WritesIntoRoomWhatItWouldAppend) {
  std::string path = testing::TempDir() + "append_room";
  std::filesystem::remove(path);
  for (u64 room : {u64{0}, u64{1}, u64{5'000}, u64{1} << 20}) {
    SCOPED_TRACE(room);
    std::filesystem::remove(path);
    std::string expected;
    for (u64 life = 0; life < 3; ++life) {
      AppendFile file = std::move(AppendFile::open(path, room)).value();
      ASSERT_EQ(file.size(), expected.size());
      for (u64 size : {1, 100, 3'995, 4'096, 9'000, 8'192, 70'000, 7}) {
        std::string bytes(size, static_cast<char>('a' + (life * 8 + size) % 26));
        ASSERT_TRUE(file.append_durably(as_bytes(bytes)).ok());
        expected += bytes;
        ASSERT_EQ(file.size(), expected.size());
        std::string there = read_file(path, 1 << 24).value();
        ASSERT_GE(there.size(), expected.size());
        ASSERT_TRUE(there.substr(0, expected.size()) == expected);
        ASSERT_EQ(there.find_first_not_of('\0', expected.size()), std::string::npos);
      }
      if (life == 1) {
        // Cut inside a block whose bytes are kept in memory, and grown to the same size again.
        expected.resize(expected.size() - 5);
        ASSERT_TRUE(file.truncate(expected.size()).ok());
        ASSERT_TRUE(file.append_durably(as_bytes(std::string("other"))).ok());
        expected += "other";
      }
      ASSERT_TRUE(file.settle(expected.size() / 2).ok());
    }
    EXPECT_TRUE(read_file(path, 1 << 24).value() == expected);
  }
  std::filesystem::remove(path);
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

TEST(Mailbox, TakesAsManyAsThereIsRoomFor) {
  Mailbox<std::string> mailbox(3);
  std::vector<std::string> values = {"a", "b", "c", "d"};
  EXPECT_EQ(mailbox.try_push_all(values), 3u);
  EXPECT_EQ(values[3], "d") << "what was not taken is untouched";
  EXPECT_TRUE(is_readable(mailbox.fd(), 0));
  std::vector<std::string> taken;
  mailbox.drain(taken);
  EXPECT_EQ(taken, (std::vector<std::string>{"a", "b", "c"}));
  mailbox.drain(taken);
  EXPECT_EQ(taken.size(), 3u);
  mailbox.close();
  EXPECT_EQ(mailbox.try_push_all(values), 0u);
}

// A reader that pushes itself is not woken for it, and finds it all the same; others wake it.
TEST(Mailbox, QuietValuesWakeNobody) {
  Mailbox<i64> mailbox(2);
  int fd = mailbox.fd();
  i64 value = 1;
  EXPECT_FALSE(mailbox.has_values());
  EXPECT_TRUE(mailbox.try_push_quietly(value));
  EXPECT_TRUE(mailbox.has_values());
  EXPECT_FALSE(is_readable(fd, 0));
  std::vector<i64> values;
  mailbox.drain(values);
  EXPECT_EQ(values, (std::vector<i64>{1}));
  EXPECT_TRUE(mailbox.try_push(value));
  EXPECT_TRUE(is_readable(fd, 0));
  EXPECT_TRUE(mailbox.try_push_quietly(value));
  EXPECT_FALSE(mailbox.try_push_quietly(value)) << "full";
}

struct Told final : NearReader {
  void look_soon() override { ++count; }
  i64 count = 0;
};

TEST(Mailbox, ANearReaderIsToldOfItsOwnValuesAndWatchesForOthers) {
  Mailbox<i64> mailbox(10);
  int fd = mailbox.fd();
  Told told;
  mailbox.set_near(&told);
  for (i64 value : {1, 2}) ASSERT_TRUE(mailbox.try_push(value));
  EXPECT_EQ(told.count, 1) << "once for all that wait";
  EXPECT_FALSE(is_readable(fd, 0));
  std::vector<i64> values;
  mailbox.drain(values);
  EXPECT_EQ(values, (std::vector<i64>{1, 2}));
  std::thread other([&] {
    i64 value = 3;
    EXPECT_TRUE(mailbox.try_push(value));
  });
  other.join();
  EXPECT_EQ(told.count, 1);
  EXPECT_TRUE(is_readable(fd, 0));
  values.clear();
  mailbox.drain(values);
  EXPECT_FALSE(is_readable(fd, 0));
  mailbox.set_near(nullptr);
  i64 value = 4;
  ASSERT_TRUE(mailbox.try_push(value));
  EXPECT_EQ(told.count, 1);
  EXPECT_TRUE(is_readable(fd, 0));
}

TEST(Deadlines, FindsWhatIsLateUntilItLeaves) {
  struct Counter final : Deadlines::Entry {
    i64 late = 0;
    void expire() override { ++late; }
  };
  Deadlines deadlines;
  Counter early;
  Counter last;
  deadlines.enter(early, 10);
  {
    Counter left;
    deadlines.enter(left, 10);
    deadlines.enter(last, 30);
  }
  deadlines.sweep(9);
  EXPECT_EQ(early.late, 0);
  deadlines.sweep(10);
  deadlines.sweep(20);
  EXPECT_EQ(early.late, 2);
  EXPECT_EQ(last.late, 0);
  early.leave();
  deadlines.sweep(30);
  EXPECT_EQ(early.late, 2);
  EXPECT_EQ(last.late, 1);
  deadlines.enter(early, 40);
  deadlines.sweep(40);
  EXPECT_EQ(early.late, 3);
}

TEST(Random, OsRandomNeverRepeatsItself) {
  OsRandom random;
  std::set<u64> seen;
  for (int i = 0; i < 1'000; ++i) seen.insert(random.next_u64());
  EXPECT_EQ(seen.size(), 1'000u);
  std::vector<u8> many(1'000);
  random.fill(many);
  EXPECT_GT(std::set<u8>(many.begin(), many.end()).size(), 200u);
}

}  // namespace
}  // namespace tg
