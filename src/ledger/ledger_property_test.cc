// Random events against a naive model of the same rules, with the invariants of double entry and
// two-phase transfers (I-1 to I-8 of the design) checked after every batch. A failure names its
// seed.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace tg::ledger
