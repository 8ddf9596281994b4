// Exports: hledger, an independent program, comes to the same balances; CSV and JSON Lines have a
// line for each entry. Skipped, visibly, where hledger is not installed.
#include "ledger/export.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ledger/ledger_testing.h"
#include "ledger/open_store.h"
#include "ledger/random_transfers_testing.h"
#include "ledger/temporary_folder_testing.h"

namespace tg::ledger {
namespace {

constexpr Timestamp kNow{1'800'000'000'000'000'000};

void fill(StateMachine& machine, int chains) {
  SeededRandom random(3);
  RandomTransfers transfers(random);
  for (u128 id = 1; id <= kTestAccounts; ++id)
    machine.create_account(random_test_account(id, kNow), kNow);
  std::vector<TransferStatus> statuses;
  for (int i = 0; i < chains; ++i)
    machine.apply(transfers.make_chain(), Timestamp{kNow.ns + i * i64{40'000'000}}, statuses);
}

std::string exported(const StateMachine& machine, ExportFormat format) {
  std::string text;
  Status done = export_journal(machine, format, [&](std::string_view piece) -> Status {
    text += piece;
    return {};
  });
  EXPECT_TRUE(done.ok());
  return text;
}

TEST(Export, HasALineForEachEntry) {
  StateMachine machine;
  fill(machine, 300);
  std::string csv = exported(machine, ExportFormat::kCsv);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), static_cast<i64>(machine.journal_size()) + 1);
  std::size_t fields = std::count(csv.begin(), csv.begin() + static_cast<i64>(csv.find('\n')), ',');
  EXPECT_EQ(std::count(csv.begin(), csv.end(), ','),
            static_cast<i64>(fields * (machine.journal_size() + 1)));
  std::string lines = exported(machine, ExportFormat::kJsonLines);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), static_cast<i64>(machine.journal_size()));
}

int hledger_check(const std::string& folder, const std::string& text) {
  std::string path = folder + "/export.journal";
  std::ofstream(path) << text;
  return std::system(("hledger -f " + path + " check >" + folder + "/out 2>&1").c_str());
}

TEST(Export, HledgerComesToTheSameBalances) {
  if (std::system("command -v hledger >/dev/null") != 0) GTEST_SKIP() << "hledger is not installed";
  StateMachine machine;
  fill(machine, 400);
  ASSERT_GT(machine.pending_count(), 0);
  std::string text = exported(machine, ExportFormat::kHledger);
  TemporaryFolder folder;
  EXPECT_EQ(hledger_check(folder.path(), text), 0) << folder.path();
  // And it would notice: one unit more in one balance.
  std::size_t asserted = text.rfind(" = ") + 3;
  text.insert(text[asserted] == '-' ? asserted + 1 : asserted, "1");
  EXPECT_NE(hledger_check(folder.path(), text), 0);
}

TEST(ReadLedger, ReadsALogThatAWriterHasOpen) {
  TemporaryFolder folder;
  std::unique_ptr<Store> store = std::move(open_store(folder.path(), StoreKind::kLog)).value();
  StateMachine machine;
  ASSERT_TRUE(store->load(machine).ok());
  fill(machine, 50);
  Effects effects;
  machine.take_effects(effects);
  ASSERT_TRUE(store->commit(effects, {}).ok());
  StateMachine read;
  Result<AuditReport> report = read_ledger(folder.path(), read);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->journal_entries, machine.journal_size());
  EXPECT_EQ(difference(machine, read), "");
  StateMachine none;
  EXPECT_EQ(read_ledger(folder.path() + "/none", none).error().code, Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/none"));
}

}  // namespace
}  // namespace tg::ledger
