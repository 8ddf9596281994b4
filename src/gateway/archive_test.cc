// Receipts that another gateway issued: copied with their proofs, also after the network was gone
// or a process ended, and had from any gateway by whom they belong to.
#include "gateway/archive.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "gateway/bookkeeper.h"
#include "gateway/scribe.h"
#include "ledger/lease_testing.h"
#include "meter/receipt_testing.h"

namespace tg::gateway {
namespace {

constexpr u128 kBuyer = 7;  // As sample receipts have it.

bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 1'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// A gateway with a ledger and a meter of its own.
class Gateway {
 public:
  Gateway(ledger::Service& shared, Clock& clock, const std::string& folder, u8 seed)
      : shared_(shared), clock_(clock), folder_(folder), seed_(seed), disk_(seed) {
    std::filesystem::create_directories(folder_);
    start();
  }
  void start() {
    own_ = std::move(ledger::Service::open(ledger::store_on(disk_), clock_)).value();
    meter::ReceiptLog log = meter::ReceiptLog::open(folder_ + "/log", "test", signer()).value();
    archive_ = std::make_unique<Archive>(shared_, clock_, progress_file());
    scribe_ = std::make_unique<Scribe>(*own_, std::move(log), archive_.get());
  }
  void stop() {
    scribe_.reset();
    archive_.reset();
    own_.reset();
  }
  tlog::NoteSigner signer() const {
    std::string name = "gw-" + std::to_string(seed_);
    return tlog::NoteSigner::create(name, tlog::Suite::kEd25519Sha256, std::vector<u8>(32, seed_))
        .value();
  }
  ledger::Service& own() { return *own_; }
  std::string progress_file() const { return folder_ + "/archived"; }
  void issue(u64 first, u64 count) {
    ledger::Request request;
    for (u64 id = first; id < first + count; ++id) {
      meter::Draft draft = meter::sample_draft({.request = id}, tlog::Suite::kEd25519Sha256);
      draft.key = "key-" + std::to_string(seed_);
      draft.project = "project-" + std::to_string(seed_);
      request.documents.push_back({.id = id, .bytes = meter::to_text(draft)});
    }
    ASSERT_TRUE(own_->execute(std::move(request)).succeeded());
  }
  Result<std::string> receipt(u128 id, std::optional<AccountRef> account = std::nullopt) {
    return scribe_->ask({.id = id, .account = account});
  }
  bool has(u64 id) { return receipt(id).ok(); }

 private:
  ledger::Service& shared_;
  Clock& clock_;
  const std::string folder_;
  const u8 seed_;
  SimulatedMedium disk_;
  std::unique_ptr<ledger::Service> own_;
  std::unique_ptr<Archive> archive_;
  std::unique_ptr<Scribe> scribe_;
};

class ArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kOff);
    folder_ = testing::TempDir() + "tg_archive_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::unique_ptr<ledger::Store> far =
        std::make_unique<ledger::FarStore>(ledger::store_on(disk_), link_);
    shared_ = std::move(ledger::Service::open(std::move(far), clock_)).value();
    near_.emplace(*shared_, clock_, folder_ + "/near", 1);
    other_.emplace(*shared_, clock_, folder_ + "/other", 2);
  }
  void TearDown() override {
    near_.reset();
    other_.reset();
    shared_.reset();
    std::filesystem::remove_all(folder_);
    set_log_level(LogLevel::kInfo);
  }

  std::string folder_;
  SystemClock clock_;
  ledger::Link link_;
  SimulatedMedium disk_{9};
  std::unique_ptr<ledger::Service> shared_;
  std::optional<Gateway> near_;
  std::optional<Gateway> other_;
};

TEST_F(ArchiveTest, AReceiptIsHadFromAnyGatewayByWhomItBelongsTo) {
  near_->issue(100, 3);
  ASSERT_TRUE(comes_true([&] { return other_->has(102); }));
  std::string text = other_->receipt(101, kBuyer).value();
  meter::ReceiptFile file = meter::parse_receipt_file(text).value();
  EXPECT_EQ(file.receipt.request, 101u);
  EXPECT_EQ(file.receipt.meter, "gw-1");
  tlog::VerifierKey key =
      tlog::NoteSigner::create("gw-1", tlog::Suite::kEd25519Sha256, std::vector<u8>(32, 1))
          .value()
          .verifier();
  meter::Verification verified = meter::verify(file, {.key = key});
  EXPECT_TRUE(verified.signature.passed()) << verified.signature.detail;
  EXPECT_TRUE(verified.inclusion.passed()) << verified.inclusion.detail;
  EXPECT_EQ(other_->receipt(101, kBuyer + 1).error().code, Code::kNotFound);
  EXPECT_EQ(other_->receipt(999).error().code, Code::kNotFound);
  // The issuer answers itself.
  EXPECT_TRUE(near_->receipt(101, kBuyer).ok());
}

TEST_F(ArchiveTest, WhatWasIssuedWhileTheNetworkWasGoneIsCopiedWhenItIsBack) {
  link_.is_cut = true;
  near_->issue(100, 700);
  ASSERT_TRUE(near_->has(799));
  EXPECT_EQ(other_->receipt(100).error().code, Code::kUnavailable);
  near_->stop();  // Does not wait for what is away.
  link_.is_cut = false;
  EXPECT_FALSE(other_->has(100));
  near_->start();
  ASSERT_TRUE(comes_true([&] { return other_->has(799); }));
  for (u64 id = 100; id < 800; ++id) EXPECT_TRUE(other_->has(id)) << id;
}

TEST_F(ArchiveTest, GoesOnWhereItWasAndLosesNothingWithoutItsNote) {
  near_->issue(100, 5);
  ASSERT_TRUE(comes_true([&] { return other_->has(104); }));
  near_->stop();
  EXPECT_EQ(read_file(near_->progress_file(), 100).value(), "5");
  std::string before = other_->receipt(100).value();
  std::filesystem::remove(near_->progress_file());
  near_->start();
  near_->issue(200, 1);
  ASSERT_TRUE(comes_true([&] { return other_->has(200); }));
  near_->stop();
  EXPECT_EQ(read_file(near_->progress_file(), 100).value(), "6");
  EXPECT_EQ(other_->receipt(100).value(), before) << "the first copy stays";
}

// What is reported is what all served, each request once, by whose it was.
TEST_F(ArchiveTest, UsageIsThatOfAllGateways) {
  near_->issue(100, 3);
  other_->issue(200, 2);
  ASSERT_TRUE(comes_true([&] { return other_->has(102) && near_->has(201); }));
  Bookkeeper bookkeeper(other_->own(), clock_,
                        {.shared = shared_.get(), .meter = other_->signer().verifier()});
  UsageQuery query{.bucket_hours = 0, .by_model = false, .format = UsageFormat::kCsv};
  auto requests_of = [&](const std::string& key, const std::string& project) {
    query.key = key;
    query.project = project;
    std::string report = bookkeeper.ask(query).value();
    std::size_t line = report.find('\n') + 1;
    if (line >= report.size()) return std::string("none");
    std::size_t at = line;
    for (int column = 0; column < 6; ++column) at = report.find(',', at) + 1;
    return report.substr(at, report.find(',', at) - at);
  };
  EXPECT_EQ(requests_of("key-1", "project-1"), "3");
  EXPECT_EQ(requests_of("key-2", "project-2"), "2");
  query.by_key = query.by_project = false;
  EXPECT_EQ(requests_of("", ""), "5");
  near_->issue(103, 1);
  ASSERT_TRUE(comes_true([&] { return requests_of("", "") == "6"; }));
  // Cut off, it says what it knows, and that there may be more.
  query.format = UsageFormat::kJson;
  EXPECT_EQ(bookkeeper.ask(query).value().find("is_whole"), std::string::npos);
  link_.is_cut = true;
  std::string report = bookkeeper.ask(query).value();
  EXPECT_NE(report.find("\"is_whole\":false"), std::string::npos) << report;
  EXPECT_NE(report.find("\"requests\":6"), std::string::npos) << report;
  link_.is_cut = false;
}

TEST(ArchivedReceipt, ACutOrForeignOneIsRefused) {
  EXPECT_FALSE(parse_archived("use a b").ok());
  EXPECT_FALSE(parse_archived("use a\nfile").ok());
  EXPECT_FALSE(parse_archived("use a b\nno receipt").ok());
  EXPECT_FALSE(parse_archived("").ok());
}

}  // namespace
}  // namespace tg::gateway
