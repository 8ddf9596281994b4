// Random events against a naive model of the same rules, with the invariants of double entry and
// two-phase transfers (I-1 to I-9 of the design) checked after every batch. A failure names its
// seed.
#include <gtest/gtest.h>

#include <algorithm>

#include "env/random.h"
#include "env/seed_testing.h"
#include "ledger/ledger_testing.h"
#include "ledger/model_testing.h"
#include "ledger/random_transfers_testing.h"

namespace tg::ledger {
namespace {

constexpr i64 kMillisecond = 1'000'000;

class RandomRun {
 public:
  explicit RandomRun(u64 seed) : random_(seed) {
    for (u128 id = 1; id <= kTestAccounts; ++id) {
      Account a = random_test_account(id, now_);
      EXPECT_EQ(machine_.create_account(a, now_), AccountStatus::kOk);
      model_.create(a);
    }
  }

  i64 events() const { return events_; }
  i64 succeeded_count() const { return succeeded_; }
  const StateMachine& machine() const { return machine_; }

  void step() {
    u64 dice = random_.below(1000);
    if (dice < 20) {
      now_.ns += static_cast<i64>(random_.below(80)) * kMillisecond;
      machine_.expire(now_);
      model_.advance(now_.ns);
    } else if (dice < 21) {
      u16 code = random_.below(2) == 0 ? transfer_code::kHold : transfer_code::kDisputeHold;
      model_.advance(now_.ns);
      machine_.release_open(code, now_);
      model_.release_open(code);
    } else {
      if (dice < 400) now_.ns += static_cast<i64>(random_.below(4)) * kMillisecond;
      batch();
    }
    check();
  }
  void close_one() {
    u128 id = 1 + random_.below(kTestAccounts);
    EXPECT_EQ(machine_.close_account(id, now_), AccountStatus::kOk);
    model_.close(id);
  }

  void check() { expect_agrees(machine_, model_); }
  void check_history() {
    expect_same_history(machine_, model_, Timestamp{now_.ns + 1'000'000 * kMillisecond});
  }

 private:
  void batch() {
    std::vector<Transfer> batch;
    u64 chains = 1 + random_.below(3);
    for (u64 c = 0; c < chains; ++c) {
      std::vector<Transfer> chain = transfers_.make_chain();
      batch.insert(batch.end(), chain.begin(), chain.end());
    }
    std::vector<TransferStatus> statuses;
    machine_.apply(batch, now_, statuses);
    model_.advance(now_.ns);
    std::size_t first = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (is_linked(batch[i])) continue;
      std::span<const Transfer> chain(batch.data() + first, i + 1 - first);
      bool expected = model_.apply(chain);
      for (std::size_t k = first; k <= i; ++k) {
        ASSERT_TRUE(!expected || succeeded(statuses[k])) << name(statuses[k]);
      }
      ASSERT_EQ(count_failures(statuses, first, i) != 0, !expected);
      succeeded_ += expected ? static_cast<i64>(chain.size()) : 0;
      first = i + 1;
    }
    events_ += static_cast<i64>(batch.size());
  }
  static i64 count_failures(const std::vector<TransferStatus>& s, std::size_t a, std::size_t b) {
    i64 failures = 0;
    for (std::size_t k = a; k <= b; ++k) failures += succeeded(s[k]) ? 0 : 1;
    // A failed chain failed whole: no member says that it was applied.
    EXPECT_TRUE(failures == 0 || failures == static_cast<i64>(b - a + 1));
    return failures;
  }

  SeededRandom random_;
  RandomTransfers transfers_{random_};
  StateMachine machine_;
  Model model_;
  Timestamp now_{1'000'000'000};
  i64 events_ = 0;
  i64 succeeded_ = 0;
};

TEST(LedgerProperty, MatchesTheModel) {
  i64 events = 0;
  i64 succeeded = 0;
  for (u64 seed = first_seed(); seed < first_seed() + 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun run(seed);
    while (run.events() < 4000) {
      run.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    if (seed % 4 == 0) run.close_one();
    while (run.events() < 5000) {
      run.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    run.check_history();
    if (testing::Test::HasFatalFailure()) return;
    events += run.events();
    succeeded += run.succeeded_count();
  }
  EXPECT_GE(events, 200'000);
  // The mix must exercise both outcomes.
  EXPECT_GT(succeeded, events / 5);
  EXPECT_LT(succeeded, events * 4 / 5);
}

TEST(LedgerProperty, TheSameEventsGiveTheSameJournal) {
  RandomRun a(99);
  RandomRun b(99);
  for (int i = 0; i < 2000; ++i) {
    a.step();
    b.step();
  }
  EXPECT_EQ(difference(a.machine(), b.machine()), "");
}

// Buyers with limited funds who pay sellers and a fee through the clearing account.
class Settlements {
 public:
  explicit Settlements(u64 seed) : random_(seed) {
    Account clearing = test_account(kClearing);
    clearing.code = account_code::kClearing;
    machine_.create_account(clearing, now_);
    machine_.create_account(test_account(kFee), now_);
    machine_.create_account(test_account(kOutside), now_);
    for (u64 i = 0; i < kEach; ++i) {
      u16 limit = account_flag::kDebitsMustNotExceedCredits;
      machine_.create_account(test_account(kFirstBuyer + i, limit), now_);
      machine_.create_account(test_account(kFirstSeller + i), now_);
      apply({test_transfer(++id_, kOutside, kFirstBuyer + i, 1 + random_.below(2'000))});
    }
  }

  // Whether it went through.
  bool settle() {
    now_.ns += static_cast<i64>(random_.below(40)) * kMillisecond;
    bool is_retry = !last_.empty() && random_.below(5) == 0;
    if (!is_retry) last_ = make_chain();
    return apply(last_);
  }
  // I-9.
  void expect_cleared() const {
    const Account& account = *machine_.find_account(kClearing);
    ASSERT_TRUE(account.debits_posted == account.credits_posted);
    ASSERT_TRUE(account.debits_pending == 0);
  }
  void expect_conserved() const {
    u128 got = machine_.find_account(kFee)->credits_posted;
    u128 left = 0;
    for (u64 i = 0; i < kEach; ++i) {
      const Account& buyer = *machine_.find_account(kFirstBuyer + i);
      left += buyer.credits_posted - buyer.debits_posted;
      got += machine_.find_account(kFirstSeller + i)->credits_posted;
    }
    ASSERT_TRUE(left + got == machine_.find_account(kOutside)->debits_posted);
  }

 private:
  static constexpr u128 kClearing = 1;
  static constexpr u128 kFee = 2;
  static constexpr u128 kOutside = 3;
  static constexpr u128 kFirstBuyer = 10;
  static constexpr u128 kFirstSeller = 20;
  static constexpr u64 kEach = 6;

  bool apply(const std::vector<Transfer>& chain) {
    std::vector<TransferStatus> statuses;
    machine_.apply(chain, now_, statuses);
    return std::all_of(statuses.begin(), statuses.end(),
                       [](TransferStatus status) { return succeeded(status); });
  }
  // From a hold, which may have expired by then, or at once.
  Transfer payment(u128 amount) {
    u128 buyer = kFirstBuyer + random_.below(kEach);
    if (random_.below(2) == 0) return test_transfer(++id_, buyer, kClearing, amount);
    Transfer hold = test_transfer(++id_, buyer, kClearing, amount, transfer_flag::kPending);
    hold.timeout_ms = 20;
    apply({hold});
    now_.ns += static_cast<i64>(random_.below(30)) * kMillisecond;
    return {.id = ++id_,
            .amount = amount,
            .pending_id = hold.id,
            .code = transfer_code::kPostSlice,
            .flags = transfer_flag::kPostPending};
  }
  std::vector<Transfer> make_chain() {
    std::vector<Transfer> chain;
    u128 collected = 0;
    for (u64 n = 1 + random_.below(3); n > 0; --n) {
      u128 amount = 50 + random_.below(150);
      chain.push_back(payment(amount));
      collected += amount;
    }
    u128 fee = collected / 50;
    chain.push_back(test_transfer(++id_, kClearing, kFee, fee));
    for (u128 rest = collected - fee; rest > 0;) {
      u128 part = std::min<u128>(rest, 1 + random_.below(150));
      u128 seller = kFirstSeller + random_.below(kEach);
      chain.push_back(test_transfer(++id_, kClearing, seller, part));
      rest -= part;
    }
    for (std::size_t i = 0; i + 1 < chain.size(); ++i) chain[i].flags |= transfer_flag::kLinked;
    return chain;
  }

  SeededRandom random_;
  StateMachine machine_;
  Timestamp now_{1'000'000'000};
  u128 id_ = 100;
  std::vector<Transfer> last_;
};

// I-9: what comes into the clearing account goes out in the same chain. Whether buyers can pay,
// holds are still there, or a settlement is sent again, the account is at zero after it, and nobody
// was paid what nobody paid.
TEST(LedgerProperty, ASettlementLeavesTheClearingAccountAtZero) {
  constexpr i64 kSeeds = 200;
  i64 settled = 0;
  for (u64 seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Settlements settlements(seed);
    for (int round = 0; round < 30; ++round) {
      settled += settlements.settle() ? 1 : 0;
      settlements.expect_cleared();
      if (testing::Test::HasFatalFailure()) return;
    }
    settlements.expect_conserved();
  }
  // Both must happen.
  EXPECT_GT(settled, kSeeds * 5);
  EXPECT_LT(settled, kSeeds * 25);
}

}  // namespace
}  // namespace tg::ledger
