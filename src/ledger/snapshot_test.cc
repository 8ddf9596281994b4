// Snapshots: the same history gives the same bytes, a damaged one is passed over, one that the log
// does not lead to is named, and what was written long ago still opens.
#include "ledger/snapshot.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "ledger/ledger_testing.h"
#include "ledger/log_store.h"
#include "ledger/random_transfers_testing.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

constexpr Timestamp kNow{1'000'000'000'000};

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kOff); }
  void TearDown() override { set_log_level(LogLevel::kInfo); }

  std::string path(const char* name) const { return folder_.path() + "/" + name; }
  std::string bytes(const char* name) const { return read_file(path(name), 1 << 24).value(); }
  void overwrite(const char* name, const std::string& bytes) {
    std::ofstream(path(name), std::ios::binary | std::ios::trunc) << bytes;
  }

  std::unique_ptr<LogStore> open(u64 entries_min) {
    Result<AppendFile> file = AppendFile::open(path(kLogFileName));
    EXPECT_TRUE(file.ok()) << file.error().message;
    SnapshotFiles snapshots;
    for (std::size_t i = 0; i < 2; ++i)
      snapshots[i] = std::move(open_locked_file(path(kSnapshotFileNames[i]))).value();
    return LogStore::over(std::move(*file), std::move(snapshots), {.entries_min = entries_min});
  }

  // Random chains, one a commit; a snapshot is offered after each.
  void live(u64 seed, int chains, u64 entries_min) {
    std::unique_ptr<LogStore> store = open(entries_min);
    ASSERT_TRUE(store->load(machine_).ok());
    for (u128 id = 1; id <= kTestAccounts; ++id)
      machine_.create_account(random_test_account(id, kNow), kNow);
    SeededRandom random(seed);
    RandomTransfers transfers(random);
    std::vector<TransferStatus> statuses;
    for (int i = 0; i < chains; ++i) {
      machine_.apply(transfers.make_chain(), Timestamp{kNow.ns + i * i64{10'000'000}}, statuses);
      Effects effects;
      machine_.take_effects(effects);
      ASSERT_TRUE(store->commit(effects, {}).ok());
      store->offer_snapshot(machine_);
    }
  }
  // What an opening finds; "" if it is the machine that lived.
  std::string reopened() {
    std::unique_ptr<LogStore> store = open(1'000'000);
    StateMachine found;
    Result<AuditReport> report = store->load(found);
    if (!report.ok()) return report.error().message;
    std::string differs = difference(machine_, found);
    if (!differs.empty()) return differs;
    Result<AuditReport> audit = store->audit(&found);
    return audit.ok() ? "" : audit.error().message;
  }
  Result<AuditReport> read() {
    StateMachine found;
    return LogStore::read(folder_.path(), found);
  }
  SnapshotHeader header(const char* name) {
    return Snapshot::read_header(**open_file_to_read(path(name))).value();
  }

  TemporaryFolder folder_;
  StateMachine machine_;
};

TEST_F(SnapshotTest, TheShortWayLeadsToTheSameState) {
  live(1, 400, 20);
  ASSERT_GT(header(kSnapshotFileNames[0]).entries, 0u);
  ASSERT_GT(header(kSnapshotFileNames[1]).entries, 0u);
  ASSERT_GT(machine_.pending_count(), 0);
  EXPECT_EQ(reopened(), "");
  EXPECT_TRUE(read().ok());
  // And it goes on the same way: what falls due is the same.
  std::unique_ptr<LogStore> store = open(1'000'000);
  StateMachine found;
  ASSERT_TRUE(store->load(found).ok());
  Timestamp end{kNow.ns + i64{1'000'000'000'000}};
  EXPECT_EQ(found.expire(end), machine_.expire(end));
  EXPECT_EQ(difference(machine_, found), "");
}

// I-10: whether a machine lived or was rebuilt by either way, its snapshot is the same bytes.
TEST_F(SnapshotTest, TheSameHistoryGivesTheSameBytes) {
  live(2, 300, 20);
  auto bytes_of = [&](const StateMachine& machine) {
    std::string name = path("image");
    std::unique_ptr<File> file = std::move(open_locked_file(name)).value();
    EXPECT_TRUE(write_snapshot(*file, {}, machine.image()).ok());
    return read_file(name, 1 << 24).value();
  };
  StateMachine by_snapshot;
  StateMachine by_log;
  std::unique_ptr<LogStore> store = open(1'000'000);
  ASSERT_TRUE(store->load(by_snapshot).ok() && store->replay(by_log).ok());
  std::string lived = bytes_of(machine_);
  EXPECT_TRUE(lived == bytes_of(by_snapshot));
  EXPECT_TRUE(lived == bytes_of(by_log));
}

TEST_F(SnapshotTest, ATornOrAlteredOneIsPassedOver) {
  live(3, 120, 10);
  for (const char* name : kSnapshotFileNames) {
    const std::string whole = bytes(name);
    for (std::size_t at = 0; at < whole.size(); at += 97) {
      overwrite(name, whole.substr(0, at));
      EXPECT_EQ(reopened(), "") << at;
      std::string altered = whole;
      altered[at] = static_cast<char>(altered[at] ^ 0x04);
      overwrite(name, altered);
      EXPECT_EQ(reopened(), "") << at;
    }
    overwrite(name, whole);
  }
  for (const char* name : kSnapshotFileNames) overwrite(name, "");
  EXPECT_EQ(reopened(), "");
}

TEST_F(SnapshotTest, ALogThatLostCommitsIsNamed) {
  live(4, 200, 10);
  const std::string log = bytes(kLogFileName);
  // The first frame alone: whole, and far behind both snapshots.
  u32 payload = 0;
  std::memcpy(&payload, log.data() + 36, sizeof(payload));
  overwrite(kLogFileName, log.substr(0, kFrameHeaderBytes + payload + kFrameDigestBytes));
  EXPECT_NE(reopened().find("acknowledged"), std::string::npos) << reopened();
  EXPECT_FALSE(read().ok());
}

TEST_F(SnapshotTest, OneOfAnotherLogIsNamed) {
  live(5, 60, 10);
  std::string other[2] = {bytes(kSnapshotFileNames[0]), bytes(kSnapshotFileNames[1])};
  overwrite(kLogFileName, "");
  for (const char* name : kSnapshotFileNames) overwrite(name, "");
  machine_ = StateMachine();
  live(6, 60, 1'000'000);
  for (int i = 0; i < 2; ++i) overwrite(kSnapshotFileNames[i], other[i]);
  EXPECT_NE(reopened().find("another log"), std::string::npos) << reopened();
  EXPECT_FALSE(read().ok());
}

// Whole, in its place, and wrong: only the audit can know.
TEST_F(SnapshotTest, TheAuditNoticesAWrongOne) {
  live(7, 100, 10);
  std::unique_ptr<File> file = std::move(open_locked_file(path(kSnapshotFileNames[0]))).value();
  SnapshotHeader known = Snapshot::read_header(*file).value();
  Snapshot right = Snapshot::read(*file, known).value();
  std::vector<Account> accounts = right.accounts();
  std::swap(accounts[3].credits_posted, accounts[4].credits_posted);
  StateMachine wrong;
  ASSERT_TRUE(wrong.begin_restored(accounts, right.entries_last(), known.entries).ok());
  for (u64 p = 1; p <= known.entries; ++p)
    ASSERT_TRUE(wrong.restore_decided(machine_.journal_entry(p), right.links(p)).ok());
  ASSERT_TRUE(wrong.end_restored().ok());
  ASSERT_TRUE(write_snapshot(*file, known.mark, wrong.image()).ok());
  file.reset();
  Result<AuditReport> report = read();
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("is not what the log gives"), std::string::npos);
}

TEST_F(SnapshotTest, LinksThatCannotBeAreRefused) {
  live(8, 80, 10);
  StateImage image = machine_.image();
  std::vector<Account> accounts(image.accounts().begin(), image.accounts().end());
  std::vector<u32> last(image.entries_last().begin(), image.entries_last().end());
  auto error_of = [&](const std::function<void(EntryLinks&, u64)>& spoil) {
    StateMachine machine;
    EXPECT_TRUE(machine.begin_restored(accounts, last, image.entries()).ok());
    for (u64 p = 1; p <= image.entries(); ++p) {
      EntryLinks links = image.links(p);
      spoil(links, p);
      Status placed = machine.restore_decided(machine_.journal_entry(p), links);
      if (!placed.ok()) return placed.error().message;
    }
    Status ended = machine.end_restored();
    return ended.ok() ? std::string() : ended.error().message;
  };
  EXPECT_EQ(error_of([](EntryLinks&, u64) {}), "");
  EXPECT_NE(error_of([](EntryLinks& l, u64 p) { l.debit_previous = static_cast<u32>(p); }), "");
  EXPECT_NE(error_of([](EntryLinks& l, u64 p) { l.pending_position = static_cast<u32>(p); }), "");
  EXPECT_NE(error_of([](EntryLinks& l, u64) { l.pending_position = 0; }), "");
  accounts[0].debits_pending += 1;
  EXPECT_NE(error_of([](EntryLinks&, u64) {}), "");
}

}  // namespace
}  // namespace tg::ledger
