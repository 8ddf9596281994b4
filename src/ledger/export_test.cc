// Exports: hledger, an independent program, comes to the same balances; CSV and JSON Lines have a
// line for each entry. Skipped, visibly, where hledger is not installed.
#include "ledger/export.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/bytes.h"
#include "ledger/account_statement.h"
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

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> out(1);
  for (char c : line) {
    if (c == ',') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

TEST(Export, FocusRowsAreUsagePurchasesAndCredits) {
  StateMachine machine;
  for (u128 id : {u128{1}, u128{2}, u128{3}}) machine.create_account(test_account(id), kNow);
  Transfer top_up = test_transfer(11, 1, 2, 2'500'000);
  top_up.code = transfer_code::kTopUp;
  Transfer hold = test_transfer(12, 2, 3, 900'000, transfer_flag::kPending);
  hold.correlation = 77;
  Transfer post{.id = 13,
                .amount = 150'000,
                .pending_id = 12,
                .correlation = 77,
                .code = transfer_code::kPostSlice,
                .flags = transfer_flag::kPostPending};
  Transfer refund = test_transfer(14, 3, 2, 50'000);
  refund.code = transfer_code::kRefund;
  Transfer grant = test_transfer(15, 1, 2, 10);
  grant.code = transfer_code::kLease;
  std::vector<Transfer> batch{top_up, hold, post, refund, grant};
  std::vector<TransferStatus> statuses;
  machine.apply(batch, kNow, statuses);
  std::string text = exported(machine, ExportFormat::kFocus);
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) rows.push_back(fields_of(line));
  ASSERT_EQ(rows.size(), 4u);
  auto field = [&](std::size_t row, const char* column) {
    std::size_t at = std::find(rows[0].begin(), rows[0].end(), column) - rows[0].begin();
    return rows.at(row).at(at);
  };
  for (const std::vector<std::string>& row : rows) EXPECT_EQ(row.size(), rows[0].size());
  EXPECT_EQ(field(1, "ChargeCategory"), "Purchase");
  EXPECT_EQ(field(1, "BilledCost"), "2.5");
  EXPECT_EQ(field(2, "ChargeCategory"), "Usage");
  EXPECT_EQ(field(2, "BilledCost"), "0.15");
  EXPECT_EQ(field(2, "BillingAccountId"), to_hex(u128{2}));
  EXPECT_EQ(field(2, "ResourceId"), to_hex(u128{77}));
  EXPECT_EQ(field(3, "ChargeCategory"), "Credit");
  EXPECT_EQ(field(3, "BilledCost"), "-0.05");
  EXPECT_EQ(field(3, "BillingAccountId"), to_hex(u128{2}));
  EXPECT_EQ(field(1, "BillingPeriodStart"), "2027-01-01T00:00:00.000Z");
  EXPECT_EQ(field(1, "BillingPeriodEnd"), "2027-02-01T00:00:00.000Z");
}

// The balances of every line, walked back from the end, are those that were there at the time.
TEST(AccountStatement, LeadsFromOneBalanceToTheNext) {
  StateMachine machine;
  for (u128 id = 1; id <= kTestAccounts; ++id)
    machine.create_account(random_test_account(id, kNow), kNow);
  SeededRandom random(5);
  RandomTransfers transfers(random);
  std::vector<TransferStatus> statuses;
  std::map<u64, Account> history;  // Of account 2, by position.
  auto balances = [](const Account& a) {
    return Balances{a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted};
  };
  for (int i = 0; i < 600; ++i) {
    machine.apply(transfers.make_chain(), Timestamp{kNow.ns + i * i64{20'000'000}}, statuses);
    history[machine.journal_size()] = *machine.find_account(2);
  }
  AccountStatement whole = make_statement(machine, 2, Timestamp{0}, Timestamp{INT64_MAX}).value();
  EXPECT_EQ(whole.opening, Balances{});
  EXPECT_EQ(whole.closing, balances(*machine.find_account(2)));
  ASSERT_GT(whole.rows.size(), 30u);
  i64 compared = 0;
  for (const AccountStatementRow& row : whole.rows) {
    auto known = history.find(row.position);
    if (known == history.end()) continue;
    EXPECT_EQ(row.after, balances(known->second)) << row.position;
    ++compared;
  }
  EXPECT_GT(compared, 20);
  // Two spans make the whole.
  Timestamp middle{whole.rows[whole.rows.size() / 2].entry.transfer.timestamp_ns};
  AccountStatement first = make_statement(machine, 2, Timestamp{0}, middle).value();
  AccountStatement second = make_statement(machine, 2, middle, Timestamp{INT64_MAX}).value();
  EXPECT_EQ(first.closing, second.opening);
  EXPECT_EQ(first.rows.size() + second.rows.size(), whole.rows.size());
  EXPECT_EQ(make_statement(machine, 999, Timestamp{0}, middle).error().code, Code::kNotFound);
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
