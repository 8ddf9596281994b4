// Holds and closes through a real ledger: what is reserved, captured, released and signed.
#include "gateway/cashier.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/bytes.h"
#include "ledger/id.h"
#include "ledger/sqlite_store.h"

namespace tg::gateway {
namespace {

constexpr u128 kWash = 1;
constexpr u128 kSeller = 2;
constexpr u128 kBuyer = 3;
constexpr u128 kBreakage = 4;
constexpr u128 kBudgetPool = 5;
constexpr u128 kTeam = 6;
constexpr u128 kKey = 7;

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
    TillOptions options;
    options.seller = kSeller;
    options.contracts = contracts_;
    options.plans = plans_;
    options.rates = rates_;
    options.books = {.wash = kWash, .breakage = kBreakage};
    cashier_ = Cashier::start(*ledger_, *scribe_, std::move(options), clock_).value();
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
    account(kBreakage, ledger::account_code::kBreakage, 0);
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

  void send(decltype(BillingCommand::what) what) {
    BillingCommand command{++tag_, std::move(what), replies_};
    EXPECT_TRUE(billing_->submit(command));
  }
  // The next reply that is a notice, or is not.
  BillingReply next(bool is_notice) {
    for (int i = 0; i < 200; ++i) {
      for (std::size_t j = 0; j < got_.size(); ++j) {
        if (got_[j].is_notice != is_notice) continue;
        BillingReply reply = got_[j];
        got_.erase(got_.begin() + static_cast<i64>(j));
        return reply;
      }
      replies_->wait(got_, 50'000'000);
    }
    ADD_FAILURE() << "no reply";
    return {};
  }
  BillingReply ask(decltype(BillingCommand::what) what) {
    send(std::move(what));
    BillingReply reply = next(false);
    EXPECT_EQ(reply.tag, tag_);
    return reply;
  }
  HoldOpen question(i64 output_max = 10, u128 account = kBuyer, i64 choice = 0) {
    HoldOpen open;
    open.account = account;
    open.model = "tiny";
    open.prompt_tokens = 20;
    open.output_tokens_max = output_max;
    open.request_id = "req_" + std::to_string(++request_);
    open.choice = choice;
    open.run = static_cast<u64>(request_);
    return open;
  }
  BillingReply open(i64 output_max = 10, u128 account = kBuyer, i64 choice = 0) {
    return ask(question(output_max, account, choice));
  }
  void top_up(u128 amount) {
    ledger::Request more;
    more.transfers.push_back({.id = 101,
                              .debit_account = kWash,
                              .credit_account = kBuyer,
                              .amount = amount,
                              .ledger = ledger::ledgers::kStandard,
                              .code = ledger::transfer_code::kTopUp});
    ASSERT_TRUE(ledger_->execute(more).succeeded());
  }
  // One that is granted so much, as budget_keeper.h makes them.
  void grant_budget(u128 id, u128 amount) {
    ledger::Request request;
    auto account = [&](u128 which, u16 code, u16 flags) {
      ledger::Account a;
      a.id = which;
      a.ledger = ledger::ledgers::kBudget;
      a.code = code;
      a.flags = flags;
      request.accounts.push_back(a);
    };
    account(kBudgetPool, ledger::account_code::kBudgetPool, 0);
    account(budget_sink_account(), ledger::account_code::kBudgetPool, 0);
    account(id, ledger::account_code::kBudget, ledger::account_flag::kDebitsMustNotExceedCredits);
    request.transfers.push_back({.id = id + 1'000,
                                 .debit_account = kBudgetPool,
                                 .credit_account = id,
                                 .amount = amount,
                                 .ledger = ledger::ledgers::kBudget,
                                 .code = ledger::transfer_code::kGrant});
    ASSERT_TRUE(ledger_->execute(request).succeeded());
  }
  ledger::Account account(u128 id) { return ledger_->find_account(id).value().value(); }
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
  std::vector<BillingReply> got_;
  std::vector<market::Plan> plans_;
  std::optional<market::RateBook> rates_;
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
  EXPECT_FALSE(file.receipt.binding.input || file.receipt.binding.output);  // none was given
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
  HoldOpen dear = question(1'000'000);
  dear.funds.mode = market::HoldMode::kGuaranteed;
  EXPECT_EQ(ask(dear).status, BillingReply::Status::kInsufficientFunds);
  HoldOpen mean = question();
  mean.funds.max_cost = MaxCost{.nano = 1};
  EXPECT_EQ(ask(mean).status, BillingReply::Status::kInsufficientFunds);
  EXPECT_EQ(open(10, 77).status, BillingReply::Status::kNotFound);
  HoldOpen other = question();
  other.model = "none";
  BillingReply unknown = ask(other);
  EXPECT_EQ(unknown.status, BillingReply::Status::kFailed);
  EXPECT_EQ(ask(HoldClose{.hold = 5}).status, BillingReply::Status::kFailed);
  EXPECT_EQ(ask(ReceiptRead{kBuyer, "nonsense"}).status, BillingReply::Status::kNotFound);
  BillingReply opened = open();
  EXPECT_EQ(ask(HoldClose{.hold = opened.hold}).status, BillingReply::Status::kOk);
  EXPECT_EQ(ask(HoldClose{.hold = opened.hold}).status, BillingReply::Status::kFailed);
}

TEST_F(CashierTest, ReceiptsBindWhatWasSentAndReceived) {
  HoldOpen what = question();
  what.sent = billing_->content("a question");
  BillingReply opened = ask(what);
  HoldClose close{.hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = 4};
  close.received = billing_->content("an answer");
  BillingReply closed = ask(close);
  BillingReply read = ask(ReceiptRead{kBuyer, closed.settlement.receipt_id});
  meter::ReceiptFile file = meter::parse_receipt_file(read.receipt).value();
  auto checked = [&](std::string_view sent, std::string_view received) {
    meter::Evidence evidence{.key = signer_->verifier(), .witnesses = {}, .cost = &cost_};
    evidence.sent = sent;
    evidence.received = received;
    return meter::verify(file, evidence).binding;
  };
  EXPECT_TRUE(checked("a question", "an answer").passed());
  EXPECT_TRUE(checked("a questiom", "an answer").failed());
  EXPECT_TRUE(checked("a question", "an answes").failed());
  // What is public tells it from no guess.
  EXPECT_EQ(read.receipt.find(to_hex(billing_->content("a question").digest)), std::string::npos);
}

TEST_F(CashierTest, EveryBudgetIsChargedWhatTheAccountIs) {
  grant_budget(kTeam, 50'000'000'000);
  grant_budget(kKey, 40'000'000'000);
  HoldOpen what = question();
  what.budgets = {kTeam, kKey};
  BillingReply opened = ask(what);
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  EXPECT_GT(buyer().debits_pending, u128{0});
  EXPECT_EQ(account(kTeam).debits_pending, buyer().debits_pending);
  EXPECT_EQ(account(kKey).debits_pending, buyer().debits_pending);
  BillingReply closed =
      ask(HoldClose{.hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = 4});
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  EXPECT_GT(closed.settlement.charged, 0);
  for (u128 id : {kTeam, kKey, kBuyer}) {
    EXPECT_EQ(account(id).debits_pending, u128{0});
    EXPECT_EQ(account(id).debits_posted, static_cast<u128>(closed.settlement.charged));
  }
  EXPECT_EQ(account(budget_sink_account()).credits_posted,
            2 * static_cast<u128>(closed.settlement.charged));
}

TEST_F(CashierTest, ABudgetThatRefusesIsNamedAndNothingIsHeld) {
  grant_budget(kTeam, 50'000'000'000);
  grant_budget(kKey, 1);
  HoldOpen what = question();
  what.budgets = {kTeam, kKey};
  BillingReply refused = ask(what);
  EXPECT_EQ(refused.status, BillingReply::Status::kBudgetExceeded);
  EXPECT_EQ(refused.budget, kKey);
  for (u128 id : {kTeam, kKey, kBuyer}) {
    EXPECT_EQ(account(id).debits_pending + account(id).debits_posted, u128{0});
  }
  // One that does not exist is no budget without limit.
  what = question();
  what.budgets = {u128{99}};
  EXPECT_EQ(ask(what).status, BillingReply::Status::kFailed);
  EXPECT_EQ(buyer().debits_pending, u128{0});
}

TEST_F(CashierTest, ABudgetEndsAStreamWhileTheAccountStillHasFunds) {
  top_up(9'000'000'000'000);
  grant_budget(kTeam, 400'000'000'000);
  HoldOpen what = question(1'000'000);
  what.budgets = {kTeam};
  BillingReply opened = ask(what);
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  i64 edge = opened.notice.edge;
  for (int rolls = 0; rolls < 100; ++rolls) {
    i64 seen = edge;
    send(HoldProgress{.hold = opened.hold, .produced_tokens = seen, .delivered_tokens = seen});
    BillingReply moved = next(true);
    EXPECT_LE(account(kTeam).debits_pending + account(kTeam).debits_posted,
              account(kTeam).credits_posted);
    edge = moved.notice.edge;
    if (moved.notice.is_final && edge == seen) break;
  }
  BillingReply closed =
      ask(HoldClose{.hold = opened.hold, .outcome = Outcome::kBudget, .delivered_tokens = edge});
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  EXPECT_EQ(closed.settlement.outcome, Outcome::kBudget);
  EXPECT_EQ(account(kTeam).debits_posted, static_cast<u128>(closed.settlement.charged));
  EXPECT_EQ(account(kTeam).debits_pending, u128{0});
  // One more token was not to be had.
  std::vector<i64> outputs{edge + 1};
  unit::NominalWork more = unit::nominal_work(cost_, {.prompt = 20, .outputs = outputs}).value();
  EXPECT_GT(more.total.value, 400'000'000'000);
}

TEST_F(CashierTest, SlicesFollowTheStreamAndStopWithTheFunds) {
  // The first slice, 256 ST, is some 15,000 tokens; all that the account has is a few more.
  top_up(900'000'000'000);
  HoldOpen what = question(1'000'000);
  BillingReply opened = ask(what);
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  EXPECT_EQ(opened.notice.run, what.run);
  EXPECT_GT(opened.notice.edge, 1);
  EXPECT_FALSE(opened.notice.is_final);
  i64 edge = opened.notice.edge;
  i64 seen = 0;
  i64 rolls = 0;
  while (true) {
    seen = edge;
    send(HoldProgress{.hold = opened.hold, .produced_tokens = seen, .delivered_tokens = seen});
    BillingReply moved = next(true);
    EXPECT_FALSE(moved.notice.is_lost);
    EXPECT_LE(buyer().debits_pending + buyer().debits_posted, buyer().credits_posted);
    edge = moved.notice.edge;
    rolls += edge > seen ? 1 : 0;
    if (moved.notice.is_final && edge == seen) break;
  }
  EXPECT_GE(rolls, 1);
  HoldClose close{.hold = opened.hold, .outcome = Outcome::kBudget, .delivered_tokens = seen};
  BillingReply closed = ask(close);
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  EXPECT_EQ(closed.settlement.outcome, Outcome::kBudget);
  EXPECT_TRUE(buyer().debits_pending == 0);
  EXPECT_TRUE(buyer().debits_posted == static_cast<u128>(closed.settlement.charged));
  // One more token was not to be had.
  std::vector<i64> outputs{seen + 1};
  unit::NominalWork more = unit::nominal_work(cost_, {.prompt = 20, .outputs = outputs}).value();
  EXPECT_GT(more.total.value, 1'000'000'000'000);
  BillingReply read = ask(ReceiptRead{kBuyer, closed.settlement.receipt_id});
  meter::Receipt receipt = meter::parse_receipt_file(read.receipt).value().receipt;
  EXPECT_EQ(receipt.version, 3);
  EXPECT_GE(receipt.slices, 1);
  EXPECT_EQ(receipt.paid, (std::vector<meter::Payment>{{kBuyer, receipt.billed}}));
  Status sums = meter::check_arithmetic(receipt, cost_);
  EXPECT_TRUE(sums.ok()) << sums.error().message;
}

TEST_F(CashierTest, NobodyIsRefusedForWhatAnAccountOnceHad) {
  // All of the account is held, so the till knows it as empty; then it is filled behind its back.
  HoldOpen big = question(1'000'000);
  big.funds.mode = market::HoldMode::kGuaranteed;
  big.funds.max_cost = MaxCost{.nano = 100'000'000'000};
  BillingReply first = ask(big);
  ASSERT_EQ(first.status, BillingReply::Status::kOk);
  EXPECT_EQ(open().status, BillingReply::Status::kInsufficientFunds);
  top_up(100'000'000'000);
  BillingReply second = open();
  EXPECT_EQ(second.status, BillingReply::Status::kOk);
  for (u128 hold : {first.hold, second.hold}) ask(HoldClose{.hold = hold});
  EXPECT_TRUE(buyer().debits_pending == 0);
}

TEST_F(CashierTest, AnEmbeddingCostsItsPrefill) {
  HoldOpen what = question(0);
  what.is_embedding = true;
  BillingReply opened = ask(what);
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  BillingReply closed =
      ask(HoldClose{.hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = 1});
  ASSERT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  unit::NominalWork work =
      unit::nominal_work(cost_, {.prompt = 20, .outputs = {}, .embedding = true}).value();
  EXPECT_GT(work.total.value, 0);
  EXPECT_EQ(closed.settlement.nominal_nst, work.total.value);
  EXPECT_EQ(closed.settlement.charged, work.total.value);
  // Without its vector it costs nothing.
  what = question(0);
  what.is_embedding = true;
  opened = ask(what);
  closed = ask(HoldClose{.hold = opened.hold, .outcome = Outcome::kBuyerAbort});
  EXPECT_EQ(closed.settlement.charged, 0);
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

// A loop that has borrowed the work is all the thread there is, until it gives it back.
TEST_F(CashierTest, ALoopMayDoItsWork) {
  LentWork* work = billing_->work();
  ASSERT_EQ(work->borrow(nullptr).size(), 2u);
  EXPECT_TRUE(work->borrow(nullptr).empty()) << "one at a time";
  BillingCommand command{++tag_, question(), replies_};
  ASSERT_TRUE(billing_->submit_quietly(command));
  BillingReply opened;
  for (int i = 0; i < 1'000 && opened.hold == 0; ++i) {
    work->turn(LentWork::kAllReadable);
    std::vector<BillingReply> replies;
    replies_->drain(replies);
    if (!replies.empty()) opened = replies.front();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(opened.status, BillingReply::Status::kOk) << opened.message;
  ASSERT_NE(opened.hold, u128{0});
  HoldClose close{.hold = opened.hold, .outcome = Outcome::kCompleted, .delivered_tokens = 4};
  BillingCommand last{++tag_, close, replies_};
  ASSERT_TRUE(billing_->submit_quietly(last));
  work->give_back();
  BillingReply closed = next(false);
  EXPECT_EQ(closed.status, BillingReply::Status::kOk) << closed.message;
  EXPECT_GT(closed.settlement.charged, 0);
}

}  // namespace
}  // namespace tg::gateway
