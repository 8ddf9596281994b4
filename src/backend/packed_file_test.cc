#include "backend/packed_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "backend/cpu_fixture.h"

namespace tg::backend {
namespace {

class PackedFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path_); }
  void TearDown() override { std::filesystem::remove(path_); }

  static std::vector<u8> arena_of(u64 bytes) {
    std::vector<u8> out(bytes);
    SeededRandom random(bytes);
    for (u8& byte : out) byte = static_cast<u8>(random.below(256));
    return out;
  }

  // Flips one bit of the file.
  void damage(u64 at) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }

  const std::string path_ = testing::TempDir() + "tg_packed_file_test.tgpack";
  const Digest key_ = sha256("key");
};

TEST_F(PackedFileTest, GivesBackWhatWasWritten) {
  for (u64 bytes : {u64{1}, u64{63}, u64{4'097}, u64{2} << 20, (u64{5} << 20) + 17}) {
    std::vector<u8> arena = arena_of(bytes);
    ASSERT_TRUE(write_packed(path_, key_, arena).ok());
    std::vector<u8> read(bytes);
    EXPECT_TRUE(read_packed(path_, key_, read, 3)) << bytes;
    EXPECT_EQ(read, arena) << bytes;
  }
}

TEST_F(PackedFileTest, RefusesWhatIsOfAnotherKeySizeOrVersion) {
  std::vector<u8> arena = arena_of(10'000);
  std::vector<u8> read(10'000), longer(10'001);
  EXPECT_FALSE(read_packed(path_, key_, read, 1));  // no file
  ASSERT_TRUE(write_packed(path_, key_, arena).ok());
  EXPECT_FALSE(read_packed(path_, sha256("other"), read, 1));
  EXPECT_FALSE(read_packed(path_, key_, longer, 1));
  damage(7);
  EXPECT_FALSE(read_packed(path_, key_, read, 1));
}

TEST_F(PackedFileTest, RefusesEveryDamage) {
  std::vector<u8> arena = arena_of((u64{2} << 20) + 100);
  std::vector<u8> read(arena.size());
  u64 payload = 8'192;
  for (u64 at : {u64{9}, u64{20}, u64{50}, u64{4'096}, u64{4'096} + 15, payload, payload + 77,
                 payload + (u64{2} << 20) + 99}) {
    ASSERT_TRUE(write_packed(path_, key_, arena).ok());
    ASSERT_TRUE(read_packed(path_, key_, read, 2));
    damage(at);
    EXPECT_FALSE(read_packed(path_, key_, read, 2)) << at;
  }
  ASSERT_TRUE(write_packed(path_, key_, arena).ok());
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 1);
  EXPECT_FALSE(read_packed(path_, key_, read, 2));
}

TEST_F(PackedFileTest, SaysWhereItCannotWrite) {
  Status written = write_packed("/no-such-folder/x", key_, arena_of(10));
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().message.find("/no-such-folder/x"), std::string::npos);
}

// The same program from packed bytes on disk: same rows, and other weights are not taken for these.
TEST_F(PackedFileTest, AnExecutorReadsItsOwnAndNobodyElses) {
  isa::VerifiedProgram program = verified(tiny_llama_text({.codec = "q8_0", .head_codec = "q8_0"}));
  RandomWeights weights(program.program(), 1), others(program.program(), 2);
  PackedFile packed{.path = path_, .source = sha256("a file")};
  PackedStep batch;
  batch.add(tokens_of(9, 1, 16), 0, pages_from(0, 1), 9);
  auto logits = [&](const RandomWeights& from, const PackedFile& file) {
    std::unique_ptr<Executor> executor =
        make_executor("cpu", program, from.table, kLimits, file).value();
    return run(*executor, batch);
  };
  std::vector<f32> plain = logits(weights, {});
  EXPECT_EQ(logits(weights, packed), plain);
  ASSERT_TRUE(std::filesystem::exists(path_));
  std::filesystem::file_time_type first = std::filesystem::last_write_time(path_);
  EXPECT_EQ(logits(weights, packed), plain);
  EXPECT_EQ(std::filesystem::last_write_time(path_), first);  // read, not written again
  std::vector<f32> other = logits(others, {});
  EXPECT_NE(other, plain);
  EXPECT_EQ(logits(others, packed), other);
  EXPECT_NE(std::filesystem::last_write_time(path_), first);
}

}  // namespace
}  // namespace tg::backend
