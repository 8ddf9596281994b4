#include "ledger/lease_pace.h"

#include <gtest/gtest.h>

namespace tg::ledger {
namespace {

constexpr i64 kSecond = 1'000'000'000;
using Deed = LeasePace::Deed;

class LeasePaceTest : public testing::Test {
 protected:
  // What the account has after a second in which `spent` more was spent.
  Deed after_second(u128 spent, u128 free, u128 held = 0) {
    now_.ns += kSecond;
    spent_ += spent;
    return pace_.look({.spent = spent_, .held = held, .free = free}, now_);
  }
  void renew(u128 free, u128 least = 0) {
    pace_.renewed({.spent = spent_, .settled = spent_, .free = free}, least, now_);
  }

  Timestamp now_{1'000 * kSecond};
  u128 spent_ = 500;
  LeasePace pace_{
      1'000, {.lasts_ns = 60 * kSecond, .settle_ns = 5 * kSecond, .idle_ns = 10 * kSecond}, now_};
};

TEST_F(LeasePaceTest, WhatIsNewIsRenewedAtOnceAndThenWhenHalfIsGone) {
  EXPECT_EQ(after_second(0, 0), Deed::kRenew);
  renew(1'000);
  EXPECT_EQ(after_second(100, 900), Deed::kNothing);
  EXPECT_EQ(after_second(401, 499), Deed::kRenew);
}

TEST_F(LeasePaceTest, WhatIsSpentFastIsLeasedInAdvance) {
  renew(1'000);
  for (int i = 0; i < 30; ++i) after_second(200, 5'000);
  EXPECT_GT(pace_.target(), 4'000u);
  EXPECT_LE(pace_.target(), 6'000u);
  // And no longer when it is not.
  for (int i = 0; i < 300; ++i) after_second(0, 5'000);
  EXPECT_EQ(pace_.target(), 1'000u);
}

TEST_F(LeasePaceTest, WhatIsSpentIsSettledAfterAWhile) {
  EXPECT_EQ(after_second(0, 0), Deed::kRenew);
  renew(1'000);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(after_second(i == 0 ? 10 : 0, 990), Deed::kNothing) << i;
  EXPECT_EQ(after_second(0, 990), Deed::kRenew);
  renew(1'000);
  EXPECT_EQ(after_second(0, 1'000), Deed::kNothing);
}

TEST_F(LeasePaceTest, ALeaseIsRenewedBeforeItEnds) {
  EXPECT_EQ(after_second(0, 0), Deed::kRenew);
  renew(1'000);
  // Held, so that it is not idle.
  for (int i = 0; i < 19; ++i) EXPECT_EQ(after_second(0, 900, 100), Deed::kNothing) << i;
  EXPECT_EQ(after_second(0, 900, 100), Deed::kRenew);
}

TEST_F(LeasePaceTest, WhatNobodyUsesIsGivenBack) {
  renew(1'000);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(after_second(0, 1'000), Deed::kNothing) << i;
  EXPECT_EQ(after_second(0, 1'000), Deed::kGiveBack);
  pace_.asked(now_);
  EXPECT_NE(after_second(0, 1'000), Deed::kGiveBack);
}

TEST_F(LeasePaceTest, AnAccountWithLittleIsNotAskedForMoreAllTheTime) {
  renew(100, 200);
  constexpr i64 kTenth = kSecond / 10;
  EXPECT_TRUE(pace_.is_refused(200, {now_.ns + kTenth}));
  EXPECT_TRUE(pace_.is_refused(300, {now_.ns + kTenth}));
  EXPECT_FALSE(pace_.is_refused(150, {now_.ns + kTenth}));
  EXPECT_FALSE(pace_.is_refused(200, {now_.ns + 3 * kTenth}));
  now_.ns += kTenth;
  EXPECT_EQ(pace_.look({.spent = spent_, .held = 1, .free = 100}, now_), Deed::kNothing);
  EXPECT_EQ(after_second(0, 100, 1), Deed::kRenew);
}

}  // namespace
}  // namespace tg::ledger
