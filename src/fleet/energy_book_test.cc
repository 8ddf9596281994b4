#include "fleet/energy_book.h"

#include <gtest/gtest.h>

#include "env/random.h"

namespace tg::fleet {
namespace {

constexpr i64 kMs = 1'000'000;

// Says what the test has set.
class SetMeter final : public EnergyMeter {
 public:
  explicit SetMeter(f64& joules) : joules_(joules) {}
  Result<f64> joules() override {
    if (joules_ < 0) return Error{Code::kIo, "gone"};
    return joules_;
  }
  std::string name() const override { return "set"; }

 private:
  f64& joules_;
};

TEST(EnergySplit, OwnTimeAndAnEqualPartOfTheRest) {
  EnergySplit split = split_energy(10, 100, 60, 4);
  EXPECT_NEAR(split.joules(30) + 3 * split.joules(10), 10, 1e-12);
  EXPECT_NEAR(split.joules(30), 4, 1e-12);
  // A step that was faster than its parts were thought to be.
  EXPECT_NEAR(2 * split_energy(10, 50, 100, 2).joules(50), 10, 1e-12);
  EXPECT_EQ(split_energy(1, 0, 0, 1).joules(0), 0);
}

TEST(EnergyBook, AllTogetherIsWhatTheMeterSays) {
  SeededRandom random(7);
  f64 metered = 0;
  EnergyBook book(std::make_unique<SetMeter>(metered), 0, 0);
  i64 now_ns = 0;
  f64 sum = 0;
  u64 first = 0;
  u64 last = 0;
  for (int step = 0; step < 10'000; ++step) {
    i64 step_ns = static_cast<i64>(random.next() % 5) * kMs;
    now_ns += step_ns + static_cast<i64>(random.next() % 3) * kMs;
    metered += static_cast<f64>(random.next() % 100) / 100;
    if (random.next() % 3 == 0) ++last;
    for (u64 r = first; r < last; ++r) book.ran(r, step_ns / static_cast<i64>(last - first));
    bool ends = first < last && random.next() % 3 == 0;
    book.settle(now_ns, ends);
    if (ends) sum += book.take(first++);
  }
  book.settle(now_ns + kMs, true);
  while (first < last) sum += book.take(first++);
  EXPECT_NEAR(sum, book.count().request_joules, 1e-6 * metered);
  EXPECT_NEAR(sum + book.count().idle_joules, metered, 1e-6 * metered);
  EXPECT_GT(sum, metered / 4);
  EXPECT_EQ(book.count().source, EnergySource::kMeasured);
}

TEST(EnergyBook, GoesByTimeOfTheDevice) {
  f64 metered = 0;
  EnergyBook book(std::make_unique<SetMeter>(metered), 0, 0);
  book.ran(1, 30 * kMs);
  book.ran(2, 10 * kMs);
  metered = 10;
  book.settle(80 * kMs, true);
  // Half of the time nobody computed.
  EXPECT_NEAR(book.take(1), 3.75, 1e-9);
  EXPECT_NEAR(book.take(2), 1.25, 1e-9);
  EXPECT_NEAR(book.count().idle_joules, 5, 1e-9);
  EXPECT_EQ(book.take(2), 0);
}

TEST(EnergyBook, WhatCannotBeReadIsReadLater) {
  f64 metered = 0;
  EnergyBook book(std::make_unique<SetMeter>(metered), 0, 0);
  book.ran(1, 10 * kMs);
  metered = -1;
  book.settle(10 * kMs, true);
  EXPECT_EQ(book.count().request_joules, 0);
  metered = 4;
  book.ran(1, 10 * kMs);
  book.settle(20 * kMs, true);
  EXPECT_NEAR(book.take(1), 4, 1e-9);
}

TEST(EnergyBook, ModelledAndMarkedWithoutAMeter) {
  EnergyBook book(nullptr, 100, 0);
  book.ran(1, 30 * kMs);
  book.settle(1'000 * kMs, true);
  EXPECT_NEAR(book.take(1), 3, 1e-9);
  EXPECT_EQ(book.count().idle_joules, 0);
  EXPECT_EQ(book.count().source, EnergySource::kModelled);
  EnergyBook none(nullptr, 0, 0);
  none.ran(1, 30 * kMs);
  none.settle(1'000 * kMs, true);
  EXPECT_EQ(none.take(1), 0);
  EXPECT_EQ(none.count().source, EnergySource::kNone);
}

}  // namespace
}  // namespace tg::fleet
