// The log store: what was committed is there again, a torn end is cut, an altered byte is named.
#include "ledger/log_store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "env/disk.h"
#include "ledger/ledger_testing.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

constexpr Timestamp kNow{1'000'000'000'000};

class LogStoreTest : public testing::Test {
 protected:
  std::unique_ptr<LogStore> open() {
    Result<std::unique_ptr<LogStore>> store = LogStore::open(folder_.path());
    EXPECT_TRUE(store.ok()) << store.error().message;
    return store.ok() ? std::move(store).value() : nullptr;
  }
  std::string path() const { return folder_.path() + "/" + kLogFileName; }
  std::string bytes() const { return read_file(path(), 1 << 20).value(); }
  void overwrite(const std::string& bytes) {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << bytes;
  }

  static DocumentStatus commit(Store& store, StateMachine& machine, const Document* document) {
    Effects effects;
    machine.take_effects(effects);
    DocumentWrite write{.document = document};
    std::span<DocumentWrite> writes(&write, document == nullptr ? 0 : 1);
    Status status = store.commit(effects, writes);
    EXPECT_TRUE(status.ok()) << status.error().message;
    return write.status;
  }

  // Three commits: accounts; transfers of every kind with a document; a release and a closure.
  void fill(StateMachine& machine) {
    std::unique_ptr<LogStore> store = open();
    ASSERT_TRUE(store->load(machine).ok());
    machine.create_account(test_account(1), kNow);
    machine.create_account(test_account(2, account_flag::kDebitsMustNotExceedCredits), kNow);
    commit(*store, machine, nullptr);
    Transfer due = test_transfer(5, 2, 1, 7, transfer_flag::kPending);
    due.timeout_ms = 1;
    std::vector<Transfer> batch{test_transfer(u128{1} << 127, 1, 2, u128{1} << 126),
                                test_transfer(3, 2, 1, 9, transfer_flag::kPending),
                                test_transfer(4, 2, 1, u128{1} << 126), due};
    std::vector<TransferStatus> statuses;
    machine.apply(batch, kNow, statuses);
    ASSERT_EQ(statuses[2], TransferStatus::kExceedsCredits);
    Document receipt{.id = 77, .bytes = "receipt of seventy-seven"};
    EXPECT_EQ(commit(*store, machine, &receipt), DocumentStatus::kOk);
    EXPECT_EQ(store->read_document(77).value(), receipt.bytes);
    ASSERT_EQ(machine.expire(Timestamp{kNow.ns + 1'000'000}), 1);
    machine.close_account(1, kNow);
    commit(*store, machine, nullptr);
  }

  // 32 bytes a line.
  static std::string hex_lines(const std::string& bytes) {
    std::string out;
    for (std::size_t at = 0; at < bytes.size(); at += 32)
      out += to_hex(as_bytes(std::string_view(bytes).substr(at, 32))) + "\n";
    return out;
  }
  static std::vector<u8> bytes_of_hex_lines(std::string text) {
    std::erase(text, '\n');
    return from_hex(text).value();
  }

  // The error of opening and loading; "" if it went well.
  std::string reopen_error(StateMachine& machine) {
    Result<std::unique_ptr<LogStore>> store = LogStore::open(folder_.path());
    if (!store.ok()) {
      EXPECT_EQ(store.error().code, Code::kCorrupt);
      return store.error().message;
    }
    Result<AuditReport> report = (*store)->load(machine);
    return report.ok() ? "" : report.error().message;
  }

  TemporaryFolder folder_;
};

TEST_F(LogStoreTest, ReopensToTheSameState) {
  StateMachine machine;
  fill(machine);
  std::unique_ptr<LogStore> store = open();
  StateMachine again;
  Result<AuditReport> report = store->load(again);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(difference(machine, again), "");
  EXPECT_EQ(report->accounts, 2);
  EXPECT_EQ(report->commits, 3);
  EXPECT_EQ(report->holds_open, 1);
  EXPECT_EQ(store->read_document(77).value(), "receipt of seventy-seven");
  EXPECT_EQ(store->documents_after(0, 10).value().size(), 1u);
  EXPECT_TRUE(store->documents_after(1, 10).value().empty());
  EXPECT_TRUE(store->audit(&again).ok());
}

TEST_F(LogStoreTest, DocumentsKeepTheirFirstBytes) {
  StateMachine machine;
  fill(machine);
  std::unique_ptr<LogStore> store = open();
  StateMachine again;
  ASSERT_TRUE(store->load(again).ok());
  Document same{.id = 77, .bytes = "receipt of seventy-seven"};
  Document other{.id = 77, .bytes = "another"};
  Document fresh{.id = 78, .bytes = std::string(5'000, 'x')};
  Document late{.id = 78, .bytes = "late"};
  std::vector<DocumentWrite> writes{{&same}, {&other}, {&fresh}, {&late}, {&fresh}};
  ASSERT_TRUE(store->commit({}, writes).ok());
  EXPECT_EQ(writes[0].status, DocumentStatus::kExists);
  EXPECT_EQ(writes[1].status, DocumentStatus::kExistsWithDifferentBytes);
  EXPECT_EQ(writes[2].status, DocumentStatus::kOk);
  EXPECT_EQ(writes[3].status, DocumentStatus::kExistsWithDifferentBytes);
  EXPECT_EQ(writes[4].status, DocumentStatus::kExists);
  store.reset();
  StateMachine third;
  store = open();
  ASSERT_TRUE(store->load(third).ok());
  EXPECT_EQ(store->read_document(78).value(), fresh.bytes);
}

// A crash may leave any prefix of the last frame. It is cut, and all before it is there.
TEST_F(LogStoreTest, ATornEndIsCut) {
  StateMachine machine;
  fill(machine);
  const std::string whole = bytes();
  std::vector<std::size_t> ends = {0};  // where frames begin
  for (std::size_t at = 0; at + 48 <= whole.size();) {
    u32 payload = 0;
    std::memcpy(&payload, whole.data() + at + 36, 4);
    at += 48 + payload + 32;
    ends.push_back(at);
  }
  ASSERT_EQ(ends.size(), 4u);
  ASSERT_EQ(ends.back(), whole.size());
  for (std::size_t size = 0; size <= whole.size(); size += 13) {
    overwrite(whole.substr(0, size));
    StateMachine again;
    EXPECT_EQ(reopen_error(again), "") << size;
    std::size_t kept = *(std::upper_bound(ends.begin(), ends.end(), size) - 1);
    EXPECT_EQ(std::filesystem::file_size(path()), kept);
  }
}

TEST_F(LogStoreTest, AFrameWithUnwrittenSectorsIsCutOnlyAtTheEnd) {
  StateMachine machine;
  fill(machine);
  std::string whole = bytes();
  std::size_t before = whole.size();
  overwrite(whole + std::string(2'048, '\0'));  // The file grew, nothing was written.
  StateMachine again;
  EXPECT_EQ(reopen_error(again), "");
  EXPECT_EQ(std::filesystem::file_size(path()), before);
  whole.replace(512, 512, std::string(512, '\0'));
  overwrite(whole);
  StateMachine third;
  std::string error = reopen_error(third);
  EXPECT_NE(error.find("at byte"), std::string::npos) << error;
}

TEST_F(LogStoreTest, AnAlteredByteIsNamed) {
  StateMachine machine;
  fill(machine);
  const std::string whole = bytes();
  // Behind it nothing, or the room of a writer that was killed.
  for (std::size_t room : {0, 40, 9'000}) {
    for (std::size_t at = room % 7; at < whole.size(); at += room == 0 ? 3 : 7) {
      std::string altered = whole + std::string(room, '\0');
      altered[at] = static_cast<char>(altered[at] ^ 0x10);
      overwrite(altered);
      StateMachine again;
      EXPECT_NE(reopen_error(again), "") << at;
      EXPECT_EQ(std::filesystem::file_size(path()), altered.size()) << at;
    }
  }
}

// While a log is open zeros follow it; a writer that is killed leaves them, and they are no damage.
TEST_F(LogStoreTest, WhatAKilledWriterLeavesOpensToTheSameState) {
  StateMachine machine;
  fill(machine);
  const std::string whole = bytes();
  std::unique_ptr<LogStore> store = open();
  StateMachine lived;
  ASSERT_TRUE(store->load(lived).ok());
  Document receipt{.id = 78, .bytes = std::string(6'000, 'r')};
  EXPECT_EQ(commit(*store, lived, &receipt), DocumentStatus::kOk);
  const std::string killed = bytes();
  EXPECT_EQ(killed.substr(0, whole.size()), whole);
  store.reset();
  const std::string closed = bytes();
  EXPECT_EQ(killed.substr(0, closed.size()), closed);
  EXPECT_EQ(killed.find_first_not_of('\0', closed.size()), std::string::npos);

  overwrite(killed + std::string(5'000, '\0'));
  StateMachine again;
  EXPECT_TRUE(LogStore::read(folder_.path(), again).ok());
  StateMachine third;
  EXPECT_EQ(reopen_error(third), "");
  EXPECT_EQ(difference(lived, third), "");
  EXPECT_EQ(bytes(), closed);
}

// A power cut leaves each sector of the last frame as written or as it was: zeros. Whatever it
// leaves is cut, unless it is the whole frame, which is kept.
TEST_F(LogStoreTest, ATornFrameInItsRoomIsCut) {
  StateMachine machine;
  fill(machine);
  const std::string before = bytes();
  std::unique_ptr<LogStore> store = open();
  StateMachine lived;
  ASSERT_TRUE(store->load(lived).ok());
  Document receipt{.id = 78, .bytes = std::string(3'000, 'r')};
  EXPECT_EQ(commit(*store, lived, &receipt), DocumentStatus::kOk);
  store.reset();
  const std::string whole = bytes();
  std::size_t first = before.size() / 512;
  std::size_t sectors = (whole.size() + 511) / 512 - first;
  ASSERT_GE(sectors, 6u);
  ASSERT_LE(sectors, 9u);
  for (u64 written = 0; written < u64{1} << sectors; ++written) {
    std::string torn = whole + std::string(4'096, '\0');
    for (std::size_t i = 0; i < sectors; ++i) {
      if ((written >> i & 1) != 0) continue;
      std::size_t begin = std::max(before.size(), (first + i) * 512);
      std::size_t end = std::min(whole.size(), (first + i + 1) * 512);
      torn.replace(begin, end - begin, end - begin, '\0');
    }
    overwrite(torn);
    StateMachine again;
    EXPECT_EQ(reopen_error(again), "") << written;
    bool is_whole = written + 1 == u64{1} << sectors;
    EXPECT_EQ(bytes().size(), is_whole ? whole.size() : before.size()) << written;
  }
}

// The same before another frame is no end that a crash left: what was acknowledged is missing.
TEST_F(LogStoreTest, AnUnwrittenSectorBeforeOtherFramesIsNamed) {
  StateMachine machine;
  fill(machine);
  for (u64 id : {78, 79}) {
    std::unique_ptr<LogStore> store = open();
    StateMachine again;
    ASSERT_TRUE(store->load(again).ok());
    Document receipt{.id = id, .bytes = std::string(3'000, 'r')};
    EXPECT_EQ(commit(*store, again, &receipt), DocumentStatus::kOk);
  }
  const std::string whole = bytes();
  for (std::size_t room : {0, 8'192}) {
    for (std::size_t at = 0; at + 3'000 < whole.size(); at += 512) {
      std::string damaged = whole + std::string(room, '\0');
      damaged.replace(at, 512, 512, '\0');
      overwrite(damaged);
      StateMachine again;
      EXPECT_NE(reopen_error(again).find("at byte"), std::string::npos) << at;
      EXPECT_EQ(bytes(), damaged) << at;
    }
  }
}

// Files of format 1 as the first version wrote them open for ever, and the same history still gives
// the same bytes. TG_WRITE_GOLDEN=1 writes them: only for a new version, under a new name.
TEST_F(LogStoreTest, FilesOfVersion1LoadAndAreWrittenTheSame) {
  StateMachine machine;
  fill(machine);
  std::string snapshot_path = folder_.path() + "/" + kSnapshotFileNames[0];
  {
    // fill() ends with a release and a closure; the mark is the log's end.
    std::unique_ptr<File> file = std::move(open_locked_file(snapshot_path)).value();
    LogMark mark{.bytes = bytes().size(), .commits = 3};
    std::string end = bytes().substr(bytes().size() - kFrameDigestBytes);
    std::copy(end.begin(), end.end(), mark.digest.begin());
    ASSERT_TRUE(write_snapshot(*file, mark, machine.image()).ok());
  }
  const std::pair<std::string, std::string> files[] = {{path(), "log-1.hex"},
                                                       {snapshot_path, "snapshot-1.hex"}};
  for (const auto& [written, golden] : files) {
    std::string golden_path = std::string(TG_SOURCE_DIR) + "/src/ledger/cases/" + golden;
    std::string now = read_file(written, 1 << 20).value();
    if (std::getenv("TG_WRITE_GOLDEN") != nullptr) std::ofstream(golden_path) << hex_lines(now);
    Result<std::string> known = read_file(golden_path, 1 << 20);
    ASSERT_TRUE(known.ok()) << known.error().message;
    EXPECT_EQ(hex_lines(now), *known) << golden;
    std::vector<u8> raw = bytes_of_hex_lines(*known);
    std::ofstream(written, std::ios::binary | std::ios::trunc) << as_text(raw);
  }
  StateMachine found;
  std::unique_ptr<LogStore> store = open();
  ASSERT_TRUE(store->load(found).ok());
  EXPECT_EQ(difference(machine, found), "");
  EXPECT_TRUE(store->audit(&found).ok());
  EXPECT_EQ(store->read_document(77).value(), "receipt of seventy-seven");
}

TEST_F(LogStoreTest, IsHeldByOneProcess) {
  std::unique_ptr<LogStore> store = open();
  Result<std::unique_ptr<LogStore>> second = LogStore::open(folder_.path());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kUnavailable);
}

TEST_F(LogStoreTest, RefusesAFileThatIsNoLedger) {
  overwrite(std::string(4'096, 'a'));
  StateMachine machine;
  EXPECT_NE(reopen_error(machine).find("no header"), std::string::npos);
  EXPECT_EQ(bytes(), std::string(4'096, 'a'));
}

}  // namespace
}  // namespace tg::ledger
