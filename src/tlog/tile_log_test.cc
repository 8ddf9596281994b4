// The log on disk: groups, proofs, tiles, and every place where a crash may cut a group.
#include "tlog/tile_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/bytes.h"
#include "env/disk.h"

namespace tg::tlog {
namespace {

constexpr u64 kFileBytesMax = 1 << 24;
constexpr std::size_t kCrashStride = 23;  // bytes; every byte takes minutes of fdatasync
using Files = std::map<std::string, std::string>;

std::vector<std::string> entries(u64 from, u64 to) {
  std::vector<std::string> out;
  for (u64 i = from; i < to; ++i) out.push_back("entry " + std::to_string(i));
  return out;
}

class TileLogTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_tile_log_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<TileLog> open(Suite suite = Suite::kEd25519Sha256, u8 seed = 1,
                       const std::string& origin = "o") {
    return TileLog::open(folder_, origin,
                         NoteSigner::create("log", suite, std::vector<u8>(32, seed)).value());
  }
  Files read_files() {
    Files out;
    for (const std::filesystem::directory_entry& file :
         std::filesystem::directory_iterator(folder_))
      out[file.path().filename()] = read_file(file.path(), kFileBytesMax).value();
    return out;
  }
  void write_files(const Files& files) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const auto& [name, bytes] : files)
      std::ofstream(folder_ + "/" + name, std::ios::binary) << bytes;
  }
  static void check_everything(TileLog& log) {
    Hasher hasher(log.verifier().suite);
    for (u64 i = 0; i < log.size(); ++i) {
      LogProof proof = log.inclusion(i).value();
      EXPECT_TRUE(check_log_proof(hasher, proof, "entry " + std::to_string(i), log.verifier()).ok())
          << i;
    }
    Status checked = log.check();
    EXPECT_TRUE(checked.ok()) << checked.error().message;
  }

  std::string folder_;
};

TEST_F(TileLogTest, GroupsAreProvableAndSurviveReopening) {
  for (Suite suite : kSuites) {
    std::filesystem::remove_all(folder_);
    TreeHead before;
    {
      TileLog log = open(suite).value();
      EXPECT_EQ(log.size(), 0u);
      ASSERT_TRUE(log.append(entries(0, 3)).ok());
      ASSERT_TRUE(log.append(entries(3, 300)).ok());
      ASSERT_TRUE(log.append({}).ok());
      check_everything(log);
      EXPECT_EQ(log.entry(299).value(), "entry 299");
      EXPECT_EQ(log.entry(0).value(), "entry 0");
      EXPECT_FALSE(log.entry(300).ok());
      EXPECT_FALSE(log.inclusion(300).ok());
      before = parse_checkpoint(log.checkpoint().text)->head;
    }
    TileLog log = open(suite).value();
    EXPECT_EQ(parse_checkpoint(log.checkpoint().text)->head, before);
    ASSERT_TRUE(log.append(entries(300, 520)).ok());
    check_everything(log);
    ConsistencyProof proof = log.consistency(300, 520).value();
    Hasher hasher(suite);
    EXPECT_TRUE(verify_consistency(hasher, before, parse_checkpoint(log.checkpoint().text)->head,
                                   proof.hashes));
  }
}

TEST_F(TileLogTest, GroupingDoesNotChangeTheTree) {
  std::string root;
  for (u64 step : {13, 256, 700}) {
    std::filesystem::remove_all(folder_);
    TileLog log = open().value();
    for (u64 i = 0; i < 700; i += step)
      ASSERT_TRUE(log.append(entries(i, std::min<u64>(700, i + step))).ok());
    if (root.empty()) root = log.checkpoint().text;
    EXPECT_EQ(log.checkpoint().text, root) << step;
  }
}

TEST_F(TileLogTest, ServesTilesAsTheStandardCountsThem) {
  // The example of c2sp.org/tlog-tiles, made affordable: 70,000 entries of one byte.
  TileLog log = open().value();
  ASSERT_TRUE(log.append(std::vector<std::string>(70'000, "x")).ok());
  struct Case {
    const char* path;
    std::size_t bytes;
  };
  for (Case c : {Case{"tile/0/000", 8192}, Case{"tile/0/272", 8192}, Case{"tile/0/273.p/112", 3584},
                 Case{"tile/1/000", 8192}, Case{"tile/1/001.p/17", 544}, Case{"tile/2/000.p/1", 32},
                 Case{"tile/entries/000", 768}, Case{"tile/entries/273.p/112", 336}}) {
    EXPECT_EQ(log.resource(c.path).value().size(), c.bytes) << c.path;
  }
  for (const char* path : {"tile/0/273", "tile/0/273.p/113", "tile/2/000", "tile/3/000.p/1", "x"})
    EXPECT_EQ(log.resource(path).error().code, Code::kNotFound) << path;
  EXPECT_EQ(log.resource("checkpoint").value(), to_text(log.checkpoint()));
  // A tile's hashes fold to the hash above them.
  Hasher hasher(Suite::kEd25519Sha256);
  std::vector<Hash> tile(256, hasher.leaf("x"));
  std::string above = log.resource("tile/1/000").value().substr(0, 32);
  EXPECT_EQ(above, as_text(fold(hasher, tile)));
}

TEST_F(TileLogTest, ACrashAnywhereLeavesTheLastCheckpointAndNothingElse) {
  // Files as they were before a group, and after it; in between, each file grows in the order of
  // writing, and the checkpoint changes last.
  for (u64 start : {0, 250}) {
    std::filesystem::remove_all(folder_);
    Files before;
    Files after;
    {
      TileLog log = open().value();
      ASSERT_TRUE(log.append(entries(0, start)).ok());
      before = read_files();
      ASSERT_TRUE(log.append(entries(start, start + 10)).ok());
      after = read_files();
    }
    Files crashed = before;
    int crashes = 0;
    for (const char* name : {"entries", "level-0", "level-1"}) {
      for (std::size_t size = before[name].size(); size <= after[name].size();
           size += kCrashStride) {
        crashed[name] = after[name].substr(0, size);
        if (size % 3 == 1) crashed[name].back() = '\0';  // torn: never written
        write_files(crashed);
        Result<TileLog> log = open();
        ASSERT_TRUE(log.ok()) << log.error().message;
        ASSERT_EQ(log->size(), start);
        ASSERT_TRUE(log->append(entries(start, start + 10)).ok());
        ASSERT_EQ(to_text(log->checkpoint()), after["checkpoint"]);
        ++crashes;
      }
      crashed[name] = after[name];
    }
    EXPECT_GT(crashes, 15);
    write_files(after);
    TileLog log = open().value();
    check_everything(log);
  }
}

TEST_F(TileLogTest, DamageIsNamedNotServed) {
  {
    TileLog log = open().value();
    ASSERT_TRUE(log.append(entries(0, 600)).ok());
  }
  Files good = read_files();
  auto damaged = [&](const std::string& name, std::size_t at) {
    Files files = good;
    files[name][at] = static_cast<char>(files[name][at] ^ 1);
    write_files(files);
  };
  damaged("level-0", good["level-0"].size() - 1);  // the edge
  EXPECT_EQ(open().error().code, Code::kCorrupt);
  damaged("checkpoint", 3);
  EXPECT_EQ(open().error().code, Code::kCorrupt);
  damaged("level-0", 32 * 5);  // deep inside: found when used, and by check()
  {
    TileLog log = open().value();
    EXPECT_EQ(log.inclusion(4).error().code, Code::kCorrupt);
    EXPECT_EQ(log.check().error().code, Code::kCorrupt);
    EXPECT_TRUE(log.inclusion(300).ok());
  }
  damaged("entries", 5);
  EXPECT_EQ(open()->check().error().code, Code::kCorrupt);
  for (const char* name : {"entries", "level-0", "level-1"}) {
    Files files = good;
    files[name].pop_back();
    write_files(files);
    EXPECT_EQ(open().error().code, Code::kCorrupt) << name;
  }
  Files files = good;
  files.erase("checkpoint");
  write_files(files);
  EXPECT_EQ(open().error().code, Code::kCorrupt);
}

TEST_F(TileLogTest, BelongsToOneOriginOneKeyAndOneProcess) {
  {
    TileLog log = open().value();
    EXPECT_EQ(open().error().code, Code::kUnavailable);
  }
  EXPECT_EQ(open(Suite::kEd25519Sha256, 2).error().code, Code::kCorrupt);
  EXPECT_EQ(open(Suite::kSm2Sm3).error().code, Code::kCorrupt);
  EXPECT_EQ(open(Suite::kEd25519Sha256, 1, "p").error().code, Code::kCorrupt);
  TileLog log = open().value();
  EXPECT_EQ(log.append(std::vector<std::string>{""}).error().code, Code::kLimit);
  EXPECT_EQ(log.append(std::vector<std::string>{std::string(65'536, 'x')}).error().code,
            Code::kLimit);
  EXPECT_TRUE(log.append(std::vector<std::string>{std::string(65'535, 'x')}).ok());
}

}  // namespace
}  // namespace tg::tlog
