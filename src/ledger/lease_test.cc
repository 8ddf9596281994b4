// Leases: two gateways spend from one account of a ledger that comes and goes; what they were
// granted is never more than what is held for them, and in the end everything spent is posted once.
#include "ledger/lease.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/log.h"
#include "env/seed_testing.h"
#include "ledger/lease_testing.h"
#include "ledger/ledger_testing.h"
#include "ledger/passing_store_testing.h"

namespace tg::ledger {
namespace {

constexpr u128 kBuyer = 10;
constexpr u128 kWash = 11;
constexpr u128 kPayee = 12;
constexpr u128 kSeller = 13;  // In the gateways' own ledgers.

constexpr i64 kLastsNs = 50 * kSecond;  // A lease, less the margin.

// What a gateway's own ledger wrote of each round: when it was noted, and what it granted when.
struct GrantWatch {
  std::map<u32, i64> noted_ns;
  u128 granted = 0;
  i64 late = 0;  // Grants of rounds that had ended.

  // A round is noted by four notes and granted in one chain with its outcome's.
  void see(std::span<const JournalEntry> entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Transfer& t = entries[i].transfer;
      if (t.code != transfer_code::kLease || !succeeded(entries[i].status)) continue;
      if (t.credit_account == LeaseKeeper::notes_account(kBuyer))
        noted_ns.try_emplace(t.sequence, t.timestamp_ns);
      if (t.credit_account != kBuyer) continue;
      granted += t.amount;
      u32 round = entries[i + 1].transfer.sequence;
      late += t.timestamp_ns >= noted_ns.at(round) + kLastsNs ? 1 : 0;
    }
  }
};

class WatchedStore final : public PassingStore {
 public:
  WatchedStore(std::unique_ptr<Store> store, GrantWatch& watch)
      : PassingStore(std::move(store)), watch_(watch) {}
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override {
    watch_.see(effects.entries);
    return PassingStore::commit(effects, documents);
  }
  void stage(const Effects& effects, std::span<DocumentWrite> documents) override {
    watch_.see(effects.entries);
    PassingStore::stage(effects, documents);
  }

 private:
  GrantWatch& watch_;
};

// A gateway: its own ledger on a disk that survives its restarts, and its keeper.
class Gateway {
 public:
  Gateway(std::string name, Service& shared, Clock& clock, u64 seed, u128 amount)
      : medium_(seed), random_(seed), shared_(shared), clock_(clock) {
    options_ = {.gateway = std::move(name),
                .payee = kPayee,
                .amount = amount,
                .timeout_ms = 60'000,
                .margin_ms = 10'000};
    start();
  }
  void start() {
    keeper_.reset();
    own_.reset();
    own_ =
        std::move(Service::open(std::make_unique<WatchedStore>(store_on(medium_), watch_), clock_))
            .value();
    Request request;
    request.accounts = {test_account(kSeller)};
    EXPECT_TRUE(own_->execute(request).succeeded());
    keeper_ = std::make_unique<LeaseKeeper>(*own_, shared_, clock_, random_, options_);
  }
  // Holds `amount` and posts `post` of it, or leaves the hold open.
  bool spend(u128 amount, std::optional<u128> post) {
    Request request;
    u128 id = time_ordered_id(clock_.now(), random_);
    request.transfers = {test_transfer(id, kBuyer, kSeller, amount, transfer_flag::kPending)};
    if (post) {
      request.transfers[0].flags |= transfer_flag::kLinked;
      request.transfers.push_back({.id = time_ordered_id(clock_.now(), random_),
                                   .amount = *post,
                                   .pending_id = id,
                                   .code = transfer_code::kPostSlice,
                                   .flags = transfer_flag::kPostPending});
    }
    bool done = own_->execute(request).succeeded();
    if (done && post) spent_ += *post;
    if (done && !post) open_.push_back(id);
    return done;
  }
  // A restart has voided them already.
  void resolve_open(bool is_posting) {
    for (u128 id : open_) {
      Request request;
      request.transfers = {
          {.id = time_ordered_id(clock_.now(), random_),
           .amount = is_posting ? u128{1} : u128{0},
           .pending_id = id,
           .code = is_posting ? transfer_code::kPostSlice : transfer_code::kVoid,
           .flags = is_posting ? transfer_flag::kPostPending : transfer_flag::kVoidPending}};
      if (own_->execute(request).succeeded() && is_posting) spent_ += 1;
    }
    open_.clear();
  }

  LeaseKeeper& keeper() { return *keeper_; }
  Service& own() { return *own_; }
  u128 spent() const { return spent_; }
  const GrantWatch& watch() const { return watch_; }

 private:
  SimulatedMedium medium_;
  SeededRandom random_;
  Service& shared_;
  Clock& clock_;
  LeaseOptions options_;
  GrantWatch watch_;
  std::unique_ptr<Service> own_;
  std::unique_ptr<LeaseKeeper> keeper_;
  std::vector<u128> open_;
  u128 spent_ = 0;
};

class LeaseTest : public testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kOff);
    begin(1, 1'000);
  }
  void TearDown() override { set_log_level(LogLevel::kInfo); }

  void begin(u64 seed, u128 budget) {
    gateways_.clear();
    shared_.reset();
    medium_ = std::make_unique<SimulatedMedium>(seed);
    link_.is_cut = false;
    link_.loses_answer = false;
    shared_ =
        std::move(Service::open(std::make_unique<FarStore>(store_on(*medium_), link_), clock_))
            .value();
    Request request;
    request.accounts = {test_account(kBuyer, account_flag::kDebitsMustNotExceedCredits),
                        test_account(kWash), test_account(kPayee)};
    request.transfers = {test_transfer(1, kWash, kBuyer, budget)};
    ASSERT_TRUE(shared_->execute(request).succeeded());
  }
  Gateway& add(const char* name, u128 amount) {
    gateways_.push_back(
        std::make_unique<Gateway>(name, *shared_, clock_, gateways_.size() + 5, amount));
    return *gateways_.back();
  }
  Account buyer() { return shared_->find_account(kBuyer).value().value(); }

  TestClock clock_;
  Link link_;
  std::unique_ptr<SimulatedMedium> medium_;
  std::unique_ptr<Service> shared_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
};

TEST_F(LeaseTest, WhatIsLeasedIsSpentHereAndSettledThere) {
  Gateway& a = add("a", 200);
  EXPECT_FALSE(a.spend(10, 10));
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_EQ(buyer().debits_pending, 200u);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(a.spend(10, 7));
  LeaseReport report = a.keeper().renew(kBuyer).value();
  EXPECT_EQ(report.settled, 140u);
  EXPECT_EQ(buyer().debits_posted, 140u);
  EXPECT_EQ(buyer().debits_pending, 200u);
  EXPECT_TRUE(a.spend(50, std::nullopt));
  report = a.keeper().give_back(kBuyer).value();
  EXPECT_EQ(buyer().debits_pending, 50u);
  EXPECT_FALSE(a.spend(1, 1));
  a.resolve_open(true);
  ASSERT_TRUE(a.keeper().give_back(kBuyer).ok());
  EXPECT_EQ(buyer().debits_pending, 0u);
  EXPECT_EQ(buyer().debits_posted, a.spent());
}

TEST_F(LeaseTest, CutOffAGatewayGoesOnWithWhatItHasUntilTheLeaseIsAboutToEnd) {
  Gateway& a = add("a", 300);
  Gateway& b = add("b", 300);
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok() && b.keeper().renew(kBuyer).ok());
  link_.is_cut = true;
  EXPECT_FALSE(a.keeper().renew(kBuyer).ok());
  EXPECT_TRUE(a.spend(100, 100));
  EXPECT_TRUE(b.spend(100, 100));
  clock_.advance(49 * kSecond);
  ASSERT_TRUE(a.keeper().stop_overdue().ok());
  EXPECT_TRUE(a.spend(1, 0));
  clock_.advance(2 * kSecond);
  ASSERT_TRUE(a.keeper().stop_overdue().ok());
  EXPECT_FALSE(a.spend(1, 1));
  // The lease ends before the network is back; what was spent of it is asked for late.
  clock_.advance(20 * kSecond);
  link_.is_cut = false;
  LeaseReport report = a.keeper().renew(kBuyer).value();
  EXPECT_EQ(report.lost, 0u);
  EXPECT_EQ(report.settled, 100u);
  ASSERT_TRUE(b.keeper().renew(kBuyer).ok());
  EXPECT_EQ(buyer().debits_posted, 200u);
  EXPECT_TRUE(a.spend(1, 1));
}

TEST_F(LeaseTest, WhatTheAccountNoLongerCoversIsTheGatewaysLoss) {
  Gateway& a = add("a", 500);
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_TRUE(a.spend(400, 400));
  link_.is_cut = true;
  clock_.advance(61 * kSecond);
  link_.is_cut = false;
  Request other;
  other.transfers = {test_transfer(77, kBuyer, kPayee, 900)};
  ASSERT_TRUE(shared_->execute(other).succeeded());
  LeaseReport report = a.keeper().renew(kBuyer).value();
  EXPECT_EQ(report.lost, 400u);
  EXPECT_EQ(buyer().debits_posted, 900u);
  // The next rounds go on from there.
  EXPECT_TRUE(a.spend(20, 20));
  EXPECT_EQ(a.keeper().renew(kBuyer).value().lost, 400u);
  EXPECT_EQ(buyer().debits_posted, 920u);
}

// A round whose answer was lost is sent again however late; by then its lease may be about to end.
TEST_F(LeaseTest, ARoundWhoseEndHasPassedIsSettledAndNotGranted) {
  Gateway& a = add("a", 200);
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_TRUE(a.spend(150, 150));
  link_.loses_answer = true;
  EXPECT_FALSE(a.keeper().renew(kBuyer).ok());
  clock_.advance(kLastsNs);
  LeaseReport report = a.keeper().give_back(kBuyer).value();
  EXPECT_EQ(report.settled, 150u);
  EXPECT_EQ(a.watch().granted, 200u);
  EXPECT_EQ(buyer().debits_posted, 150u);
  EXPECT_EQ(buyer().debits_pending, 0u);
  // Renewed, it is the next round that grants.
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_EQ(a.watch().granted, 400u);
  EXPECT_EQ(a.watch().late, 0);
}

TEST_F(LeaseTest, AClosedAccountIsSettledAndNotLeasedAgain) {
  Gateway& a = add("a", 500);
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_TRUE(a.spend(30, 30));
  Request close;
  close.closures = {kBuyer};
  ASSERT_TRUE(shared_->execute(close).succeeded());
  ASSERT_TRUE(a.keeper().renew(kBuyer).ok());
  EXPECT_EQ(buyer().debits_posted, 30u);
  EXPECT_EQ(buyer().debits_pending, 0u);
  EXPECT_FALSE(a.spend(1, 1));
}

TEST_F(LeaseTest, ManyCostLittleMoreThanOneAndThoseThatEndedHoldNobodyUp) {
  constexpr std::size_t kMany = 50;
  Request request;
  std::vector<LeaseAsk> asks;
  for (u128 id = 100; id < 100 + kMany; ++id) {
    request.accounts.push_back(test_account(id, account_flag::kDebitsMustNotExceedCredits));
    request.transfers.push_back(test_transfer(id, kWash, id, 100));
    asks.push_back({.account = id, .wish = {.wanted = 40}});
  }
  ASSERT_TRUE(shared_->execute(request).succeeded());
  Gateway& a = add("a", 40);
  std::span<const LeaseAsk> all = asks;
  ASSERT_TRUE(a.keeper().renew(all.first(kMany / 2)).ok());
  clock_.advance(40 * kSecond);
  ASSERT_TRUE(a.keeper().renew(all.last(kMany / 2)).ok());
  i64 passes = link_.passes;
  ASSERT_TRUE(a.keeper().renew(all.last(kMany / 2)).ok());
  EXPECT_LE(link_.passes - passes, 4);
  // The first half's end; the others' do not.
  clock_.advance(25 * kSecond);
  std::vector<LeaseReport> reports = a.keeper().renew(all).value();
  ASSERT_EQ(reports.size(), kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(reports[i].leased, 40u) << i;
    EXPECT_EQ(reports[i].free, 40u) << i;
    EXPECT_EQ(shared_->find_account(100 + i).value()->debits_pending, 40u) << i;
  }
  // Cut off in the middle, all are in doubt, and all come out of it.
  link_.loses_answer = true;
  EXPECT_FALSE(a.keeper().renew(all).ok());
  EXPECT_TRUE(a.keeper().report(100).value().is_in_doubt);
  ASSERT_TRUE(a.keeper().give_back(std::vector<u128>{100, 149}).ok());
  EXPECT_EQ(shared_->find_account(100).value()->debits_pending, 0u);
  EXPECT_EQ(shared_->find_account(149).value()->debits_pending, 0u);
  EXPECT_EQ(shared_->find_account(120).value()->debits_pending, 40u);
}

// TG_LEASE_SEEDS: how many.
u64 seed_count() {
  const char* text = std::getenv("TG_LEASE_SEEDS");
  return text == nullptr ? 40 : std::strtoull(text, nullptr, 10);
}

// One seed: two gateways spend, renew, are restarted, and lose the network with requests or answers
// in it. `jumps`: leases may end meanwhile.
class LeaseRun {
 public:
  LeaseRun(u64 seed, TestClock& clock, Link& link, Gateway& a, Gateway& b)
      : random_(seed), clock_(clock), link_(link), gateways_{&a, &b} {}

  void run(int steps, bool jumps) {
    for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) step(jumps);
  }
  void finish() {
    link_.is_cut = false;
    link_.loses_answer = false;
    // A service whose commit was lost learns so on its next request.
    for (int i = 0; i < 2; ++i) {
      for (Gateway* gateway : gateways_) {
        gateway->resolve_open(false);
        ASSERT_TRUE(gateway->keeper().give_back(kBuyer).ok());
      }
    }
  }
  void check_backing() {
    for (Gateway* gateway : gateways_) {
      ASSERT_EQ(gateway->watch().late, 0);
      std::optional<Account> here = gateway->own().find_account(kBuyer).value();
      if (!here) continue;
      Result<LeaseReport> report = gateway->keeper().report(kBuyer);
      if (!report.ok()) continue;
      // What is granted here and not settled is within the lease, while there is one.
      u128 backed = report->leased + report->settled;
      u128 granted = report->spent + here->debits_pending + available(*here);
      if (report->leased > 0) {
        ASSERT_LE(granted, backed);
      }
      if (report->leased == 0 && !report->is_in_doubt) {
        ASSERT_EQ(available(*here), 0u);
      }
    }
  }

 private:
  void step(bool jumps) {
    Gateway& gateway = *gateways_[random_.below(2)];
    u64 dice = random_.below(100);
    if (dice < 50) {
      u128 amount = 1 + random_.below(30);
      if (random_.below(4) == 0) {
        gateway.spend(amount, std::nullopt);
      } else {
        gateway.spend(amount, random_.below(static_cast<u64>(amount) + 1));
      }
    } else if (dice < 75) {
      [[maybe_unused]] Result<LeaseReport> renewed = gateway.keeper().renew(kBuyer);
    } else if (dice < 80) {
      link_.is_cut = !link_.is_cut;
    } else if (dice < 87) {
      link_.loses_answer = true;
    } else if (dice < 90) {
      gateway.start();
    } else if (dice < 93) {
      gateway.resolve_open(random_.below(2) == 0);
    } else if (dice < 95) {
      [[maybe_unused]] Result<LeaseReport> given = gateway.keeper().give_back(kBuyer);
    } else {
      clock_.advance(static_cast<i64>(random_.below(jumps ? 30 : 1)) * kSecond);
      for (Gateway* any : gateways_) ASSERT_TRUE(any->keeper().stop_overdue().ok());
    }
    check_backing();
  }

  SeededRandom random_;
  TestClock& clock_;
  Link& link_;
  Gateway* gateways_[2];
};

TEST_F(LeaseTest, NothingIsChargedTwiceOrBeyondTheBudgetWhateverHappens) {
  u128 spent_in_all = 0;
  u128 lost_in_all = 0;
  for (u64 seed = first_seed(); seed < first_seed() + seed_count(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    begin(seed, 2'000);
    Gateway& a = add("a", 250);
    Gateway& b = add("b", 250);
    LeaseRun run(seed, clock_, link_, a, b);
    bool jumps = seed % 2 == 0;
    run.run(150, jumps);
    if (HasFatalFailure()) return;
    run.finish();
    if (HasFatalFailure()) return;
    u128 lost = a.keeper().report(kBuyer).value().lost + b.keeper().report(kBuyer).value().lost;
    Account there = buyer();
    ASSERT_EQ(there.debits_posted, a.spent() + b.spent() - lost);
    ASSERT_EQ(there.debits_pending, 0u);
    ASSERT_LE(there.debits_posted, 2'000u);
    if (!jumps) {
      ASSERT_EQ(lost, 0u);
    }
    spent_in_all += a.spent() + b.spent();
    lost_in_all += lost;
  }
  EXPECT_GT(spent_in_all, 100 * seed_count());
  EXPECT_LT(lost_in_all, spent_in_all / 4);
}

}  // namespace
}  // namespace tg::ledger
