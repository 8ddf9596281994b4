// The step model on steps whose law is known: found, forgotten when it changes, undisturbed by
// outliers, never negative.
#include "engine/sched/step_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "env/random.h"

namespace tg::engine {
namespace {

// Decodes of a batch that comes and goes, with a chunk of a prompt now and then.
StepSize random_step(SeededRandom& random) {
  StepSize size;
  for (u64 i = 1 + random.below(12); i > 0; --i) {
    size.add(static_cast<i64>(random.below(2'000)), 1, 1);
  }
  if (random.below(4) == 0) {
    size.add(static_cast<i64>(random.below(1'000)), static_cast<i64>(1 + random.below(500)), 0);
  }
  return size;
}

const StepTime kLaw{.ns_per_step = 20e6,
                    .ns_per_token = 1e6,
                    .ns_per_row = 0.4e6,
                    .ns_per_key = 900,
                    .ns_per_pair = 150};

TEST(StepModel, AddsUpSequences) {
  StepSize size;
  size.add(10, 3, 1);
  size.add(0, 4, 0);
  EXPECT_EQ(size.sequences, 2);
  EXPECT_EQ(size.tokens, 7);
  EXPECT_EQ(size.rows, 1);
  EXPECT_EQ(size.keys, 17);
  EXPECT_EQ(size.pairs, 11 + 12 + 13 + 1 + 2 + 3 + 4);
}

TEST(StepModel, IsNotReadyBeforeItHasSeenSomeSteps) {
  StepModel model;
  for (u64 i = 0; i < StepModel::kStepsToLearn; ++i) {
    EXPECT_FALSE(model.is_ready());
    StepSize size;
    size.add(5, 1, 1);
    model.observe(size, 0);  // A clock that stands still teaches nothing.
    EXPECT_EQ(model.time().steps, i);
    model.observe(size, 1'000);
  }
  EXPECT_TRUE(model.is_ready());
  StepSize size;
  size.add(5, 1, 1);
  EXPECT_NEAR(model.time().predict_ns(size), 1'000, 1);
}

// Relative error over fresh steps of a model that has seen `count` of them; one in `outliers` took
// twenty times as long, and all are off by up to `noise`.
f64 error_after(StepModel& model, const StepTime& law, i64 count, u64 outliers, f64 noise) {
  SeededRandom random(static_cast<u64>(count));
  for (i64 i = 0; i < count; ++i) {
    StepSize size = random_step(random);
    f64 wall = law.predict_ns(size) * (1 + noise * (2 * random.uniform() - 1));
    if (outliers > 0 && random.below(outliers) == 0) wall *= 20;
    model.observe(size, static_cast<i64>(wall));
  }
  f64 sum = 0;
  for (i64 i = 0; i < 500; ++i) {
    StepSize size = random_step(random);
    sum += std::abs(model.time().predict_ns(size) / law.predict_ns(size) - 1);
  }
  return sum / 500;
}

TEST(StepModel, FindsTheLaw) {
  StepModel model;
  EXPECT_LT(error_after(model, kLaw, 300, 0, 0), 0.02);
  EXPECT_LT(model.time().error, 0.05);
}

TEST(StepModel, NoiseAndOutliersHardlyMoveIt) {
  StepModel noisy;
  EXPECT_LT(error_after(noisy, kLaw, 2'000, 0, 0.2), 0.06);
  StepModel disturbed;
  EXPECT_LT(error_after(disturbed, kLaw, 2'000, 50, 0.1), 0.12);
}

TEST(StepModel, FollowsAChange) {
  StepModel model;
  error_after(model, kLaw, 2'000, 0, 0.05);
  StepTime slower = kLaw;
  slower.ns_per_step *= 3;
  slower.ns_per_token *= 2;
  EXPECT_LT(error_after(model, slower, 1'500, 0, 0.05), 0.1);
}

TEST(StepModel, CoefficientsAreNeverNegative) {
  StepModel model;
  SeededRandom random(3);
  for (i64 i = 0; i < 3'000; ++i) {
    model.observe(random_step(random), static_cast<i64>(1 + random.below(1'000'000'000)));
    const StepTime& time = model.time();
    for (f64 c : {time.ns_per_step, time.ns_per_token, time.ns_per_row, time.ns_per_key,
                  time.ns_per_pair}) {
      ASSERT_TRUE(std::isfinite(c) && c >= 0);
    }
  }
}

}  // namespace
}  // namespace tg::engine
