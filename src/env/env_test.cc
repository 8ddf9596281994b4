// Clock, random and disk doors.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/bytes.h"
#include "env/clock.h"
#include "env/disk.h"

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

}  // namespace
}  // namespace tg
