// Holds and closes through a real ledger: what is reserved, captured, released and signed.
#include "gateway/cashier.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "base/bytes.h"
#include "ledger/id.h"
#include "ledger/sqlite_store.h"

namespace tg::gateway {
namespace {

constexpr u128 kWash = 1;
constexpr u128 kSeller = 2;
constexpr u128 kBuyer = 3;

class CashierTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_cashier_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    cost_.per_token[unit::kMmF16] = 2'000'000'000;
    cost_.windows = {{0, 4096, 0, 256}};
    open_ledger();
    fund(100'000'000'000);
    contracts_["tiny"] = {.device = "cpu", .model = "tiny", .program = sha256("p"), .cost = &cost_};
    start();
  }
  void TearDown() override {
    stop();
    ledger_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    scribe_ = std::make_unique<Scribe>(*ledger_, open_log());
    cashier_ =
        std::make_unique<Cashier>(*ledger_, *scribe_, CashierOptions{kSeller, contracts_}, clock_);
    billing_.emplace(cashier_->billing());
  }
  void stop() {
    cashier_.reset();
    scribe_.reset();
  }
  meter::ReceiptLog open_log() {
    return meter::ReceiptLog::open(folder_ + "/receipts", "test", *signer_).value();
  }

  void open_ledger() {
    ledger_ = ledger::Service::open(ledger::SqliteStore::open(folder_).value(), clock_).value();
  }
  void fund(u128 amount) {
    ledger::Request request;
    auto account = [&](u128 id, u16 code, u16 flags) {
      ledger::Account a;
      a.id = id;
      a.ledger = ledger::ledgers::kStandard;
      a.code = code;
      a.flags = flags;
      request.accounts.push_back(a);
    };
    account(kWash, ledger::account_code::kWash, 0);
    account(kSeller, ledger::account_code::kSellerPending,
            ledger::account_flag::kDebitsMustNotExceedCredits);
    account(kBuyer, ledger::account_code::kBuyerBundle,
            ledger::account_flag::kDebitsMustNotExceedCredits);
    ledger::Transfer t;
    t.id = 100;
    t.debit_account = kWash;
    t.credit_account = kBuyer;
    t.amount = amount;
    t.ledger = ledger::ledgers::kStandard;
    t.code = ledger::transfer_code::kTopUp;
    request.transfers.push_back(t);
    ASSERT_TRUE(ledger_->execute(request).succeeded());
  }

  BillingReply ask(std::variant<HoldOpen, HoldClose, ReceiptRead> what) {
    BillingCommand command{++tag_, std::move(what), replies_};
    EXPECT_TRUE(billing_->submit(command));
    std::vector<BillingReply> got;
    for (int i = 0; i < 100 && got.empty(); ++i) replies_->wait(got, 100'000'000);
    EXPECT_EQ(got.size(), 1u);
    EXPECT_EQ(got.at(0).tag, tag_);
    return got.at(0);
  }
  BillingReply open(i64 output_max = 10, u128 account = kBuyer, i64 choice = 0) {
    return ask(
        HoldOpen{account, "tiny", "", 20, output_max, "req_" + std::to_string(++request_), choice});
  }
  ledger::Account buyer() { return ledger_->find_account(kBuyer).value().value(); }

  std::string folder_;
  SystemClock clock_;
  unit::CostMatrix cost_;
  std::map<std::string, market::Contract> contracts_;
  std::unique_ptr<ledger::Service> ledger_;
  std::optional<tlog::NoteSigner> signer_ =
      tlog::NoteSigner::create("meter-1", tlog::Suite::kEd25519Sha256, std::vector<u8>(32)).value();
  std::unique_ptr<Scribe> scribe_;
  std::unique_ptr<Cashier> cashier_;
  std::optional<Billing> billing_;
  std::shared_ptr<Mailbox<BillingReply>> replies_ = std::make_shared<Mailbox<BillingReply>>(100);
  u64 tag_ = 0;
  int request_ = 0;
};

TEST_F(CashierTest, ChargesDeliveredTokensAndReleasesTheRest) {
  BillingReply opened = open();
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  EXPECT_GT(buyer().debits_pending, u128{0});
  HoldClose close{.hold = opened.hold, .outcome = Outcome::kBuyerAbort, .delivered_tokens = 4};
  close.timing.ended = clock_.now();
  BillingReply closed = ask(close);
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  std::vector<i64> outputs{4};
  unit::NominalWork work = unit::nominal_work(cost_, {.prompt = 20, .outputs = outputs}).value();
  EXPECT_EQ(closed.settlement.nominal_nst, work.total.value);
  EXPECT_EQ(closed.settlement.charged, work.total.value);
  EXPECT_TRUE(buyer().debits_pending == 0);
  EXPECT_TRUE(buyer().debits_posted == static_cast<u128>(work.total.value));

  BillingReply read = ask(ReceiptRead{kBuyer, closed.settlement.receipt_id});
  meter::ReceiptFile file = meter::parse_receipt_file(read.receipt).value();
  meter::Verification verified = meter::verify(
      file, meter::Evidence{.key = signer_->verifier(), .witnesses = {}, .cost = &cost_});
  EXPECT_TRUE(verified.signature.passed()) << verified.signature.detail;
  EXPECT_TRUE(verified.inclusion.passed()) << verified.inclusion.detail;
  EXPECT_TRUE(verified.continuity.passed()) << verified.continuity.detail;
  EXPECT_TRUE(verified.arithmetic.passed()) << verified.arithmetic.detail;
  EXPECT_EQ(ask(ReceiptRead{kSeller, closed.settlement.receipt_id}).status,
            BillingReply::Status::kNotFound);
}

TEST_F(CashierTest, NothingDeliveredIsVoidedButReceipted) {
  BillingReply opened = open();
  BillingReply closed = ask(HoldClose{.hold = opened.hold, .outcome = Outcome::kSellerFault});
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  EXPECT_EQ(closed.settlement.charged, 0);
  EXPECT_TRUE(buyer().debits_pending == 0 && buyer().debits_posted == 0);
  EXPECT_EQ(ask(ReceiptRead{kBuyer, closed.settlement.receipt_id}).status,
            BillingReply::Status::kOk);
}

TEST_F(CashierTest, OtherChoicesDoNotPayThePrefillAgain) {
  BillingReply opened = open(10, kBuyer, 1);
  HoldClose close{.hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = 4};
  BillingReply closed = ask(close);
  std::vector<i64> outputs{4};
  unit::NominalWork own =
      unit::nominal_work(cost_, {.prompt = 20, .cached = 20, .outputs = outputs}).value();
  EXPECT_EQ(closed.settlement.charged, own.total.value);
  // And so the receipts of all choices add up to the standard's one prefill, but for their own
  // roundings.
  unit::NominalWork whole = unit::nominal_work(cost_, {.prompt = 20, .outputs = outputs}).value();
  EXPECT_NEAR(static_cast<f64>(own.total.value), static_cast<f64>(whole.output.value), 1);
}

TEST_F(CashierTest, AnswersEveryRefusal) {
  EXPECT_EQ(open(1'000'000).status, BillingReply::Status::kInsufficientFunds);
  EXPECT_EQ(open(10, 77).status, BillingReply::Status::kNotFound);
  BillingReply unknown = ask(HoldOpen{kBuyer, "none", "", 1, 1, "req", 0});
  EXPECT_EQ(unknown.status, BillingReply::Status::kFailed);
  EXPECT_EQ(ask(HoldClose{.hold = 5}).status, BillingReply::Status::kFailed);
  EXPECT_EQ(ask(ReceiptRead{kBuyer, "nonsense"}).status, BillingReply::Status::kNotFound);
  BillingReply opened = open();
  EXPECT_EQ(ask(HoldClose{.hold = opened.hold}).status, BillingReply::Status::kOk);
  EXPECT_EQ(ask(HoldClose{.hold = opened.hold}).status, BillingReply::Status::kFailed);
}

TEST_F(CashierTest, EveryPostHasOnePageWhateverEndsWhen) {
  // I-20, I-21, I-22: the log catches up with what was settled while nobody kept it.
  std::vector<std::string> ids;
  auto settle = [&](i64 delivered) {
    BillingReply opened = open();
    BillingReply closed = ask(HoldClose{
        .hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = delivered});
    ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
    ids.push_back(closed.settlement.receipt_id);
  };
  for (i64 i = 0; i < 5; ++i) settle(i);
  stop();
  {
    // The scribe took everything before it ended; a log without its last pages takes them again.
    EXPECT_EQ(open_log().pages(), 5u);
    std::filesystem::remove_all(folder_ + "/receipts");
  }
  start();
  for (i64 i = 5; i < 8; ++i) settle(i);
  u128 billed = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    BillingReply read = ask(ReceiptRead{kBuyer, ids[i]});
    ASSERT_EQ(read.status, BillingReply::Status::kOk) << read.message;
    meter::Receipt receipt = meter::parse_receipt_file(read.receipt)->receipt;
    EXPECT_EQ(receipt.page, i + 1);
    EXPECT_TRUE(receipt.begin.billed == billed);
    billed += static_cast<u128>(receipt.billed);
  }
  EXPECT_TRUE(buyer().debits_posted == billed);
  Result<std::string> audit = scribe_->ask({.kind = ScribeQuestion::Kind::kAudit});
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  EXPECT_NE(audit->find("\"pages\":8"), std::string::npos) << *audit;
  EXPECT_EQ(scribe_->ask({.kind = ScribeQuestion::Kind::kResource, .path = "tile/0/000.p/8"})
                .value()
                .size(),
            256u);
  EXPECT_EQ(
      scribe_->ask({.kind = ScribeQuestion::Kind::kResource, .path = "tile/0/001"}).error().code,
      Code::kNotFound);
}

}  // namespace
}  // namespace tg::gateway
