// Learners on made data whose truth is known: they must find it again.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "env/random.h"
#include "predict/evaluation.h"
#include "predict/least_squares.h"
#include "predict/made_world_testing.h"
#include "predict/online.h"
#include "predict/output_length.h"
#include "predict/predictor.h"
#include "predict/residual_process.h"

namespace tg::predict {
namespace {

TEST(LeastSquares, FindsNonNegativeWeights) {
  SeededRandom random(1);
  std::vector<f64> truth = {2, 0, 0.5};
  Matrix a{.rows = 200, .columns = 3, .values = {}};
  std::vector<f64> y;
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t j = 0; j < 3; ++j) a.values.push_back(random.uniform());
    y.push_back(dot(a.row(i), truth) - 0.2 * a.row(i)[1]);
  }
  std::vector<f64> ones(a.rows, 1), prior(3, 1), pull(3, 1e-9);
  std::vector<f64> c = solve_non_negative({a, y, ones, prior, pull});
  EXPECT_EQ(c[1], 0);  // the best weight is negative
  EXPECT_NEAR(c[0], 2, 0.2);
  EXPECT_NEAR(c[2], 0.5, 0.2);
}

TEST(LeastSquares, RatiosSurviveATenthOfWildRows) {
  SeededRandom random(2);
  std::vector<f64> truth = {3, 1};
  Matrix a{.rows = 300, .columns = 2, .values = {}};
  std::vector<f64> y;
  for (std::size_t i = 0; i < a.rows; ++i) {
    f64 size = std::exp(6 * random.uniform());
    a.values.push_back(size * random.uniform());
    a.values.push_back(size);
    y.push_back(dot(a.row(i), truth) * (i % 10 == 0 ? 8 : 1));
  }
  std::vector<f64> prior = {1, 1}, pull = {0.001, 0.001};
  std::vector<f64> c = fit_ratios({a, y, prior, pull});
  EXPECT_NEAR(c[0], 3, 0.3);
  EXPECT_NEAR(c[1], 1, 0.1);
}

// A matrix with a known inverse: the second differences of a rod held at both ends.
TEST(ResidualProcess, SolvesPositiveSystems) {
  constexpr std::size_t kRows = 150;
  std::vector<f64> a(kRows * kRows, 0), x(kRows), y(kRows, 0);
  for (std::size_t i = 0; i < kRows; ++i) x[i] = std::sin(static_cast<f64>(i));
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kRows; ++j) {
      f64 value = i == j ? 2 : (i == j + 1 || j == i + 1 ? -1 : 0);
      if (j <= i) a[i * kRows + j] = value;
      y[i] += value * x[j];
    }
  }
  solve_positive(a, y);
  for (std::size_t i = 0; i < kRows; ++i) EXPECT_NEAR(y[i], x[i], 1e-9) << i;
}

Case case_of(const char* model, const char* system, f64 concurrency) {
  Case c;
  c.model_key = model;
  c.setting.system = system;
  c.setting.engine = "engine";
  c.situation[0] = c.situation[1] = std::log(concurrency);
  return c;
}

TEST(ResidualProcess, LikenessCarriesResidualsAndDistanceForgetsThem) {
  std::vector<Case> cases;
  std::vector<f64> residuals;
  for (f64 concurrency : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}) {
    cases.push_back(case_of("m", "a", concurrency));
    residuals.push_back(0.3);
    cases.push_back(case_of("n", "a", concurrency));
    residuals.push_back(-0.2);
  }
  std::vector<const Case*> pointers;
  for (const Case& c : cases) pointers.push_back(&c);
  ResidualProcess process = ResidualProcess::fit(pointers, residuals, 1000);
  EXPECT_NEAR(process.predict(case_of("m", "a", 6)), 0.3, 0.05);
  EXPECT_NEAR(process.predict(case_of("n", "a", 6)), -0.2, 0.05);
  // On another device as much of it as the device has in common; of another model, little.
  f64 elsewhere = process.predict(case_of("m", "b", 6));
  EXPECT_GT(elsewhere, 0.15);
  EXPECT_LT(elsewhere, 0.3);
  EXPECT_LT(std::abs(process.predict(case_of("o", "b", 6))), 0.1);
  EXPECT_NEAR(process.predict(case_of("o", "b", 1e9)), 0, 0.01);
  EXPECT_EQ(ResidualProcess().predict(cases[0]), 0);
}

TEST(ResidualProcess, AWildRowDoesNotCarryItsLike) {
  std::vector<Case> cases;
  std::vector<f64> residuals;
  for (f64 concurrency : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}) {
    cases.push_back(case_of("m", "a", concurrency));
    residuals.push_back(concurrency == 8 ? 3 : 0.1);
  }
  std::vector<const Case*> pointers;
  for (const Case& c : cases) pointers.push_back(&c);
  EXPECT_NEAR(ResidualProcess::fit(pointers, residuals, 1000).predict(case_of("m", "a", 8)), 0.1,
              0.1);
}

TEST(Online, WeightsFollowADriftAndStayPositive) {
  SeededRandom random(4);
  std::vector<f64> start = {1, 1, 1};
  OnlineWeights online(start, {.forgetting = 0.99});
  std::vector<f64> truth = {2, 0.5, 0};
  for (int i = 0; i < 3000; ++i) {
    if (i == 1500) truth = {1, 0.5, 0.8};
    std::vector<f64> terms = {random.uniform(), random.uniform(), random.uniform()};
    online.update(terms, dot(terms, truth) * std::exp(0.05 * (random.uniform() - 0.5)));
    for (f64 w : online.weights()) ASSERT_GE(w, 0);
  }
  for (std::size_t j = 0; j < 3; ++j) EXPECT_NEAR(online.weights()[j], truth[j], 0.1) << j;
  std::vector<f64> before(online.weights().begin(), online.weights().end());
  online.update(std::vector<f64>{1, 1, 1}, -3);
  online.update(std::vector<f64>{1, 1, 1}, NAN);
  EXPECT_EQ(before, std::vector<f64>(online.weights().begin(), online.weights().end()));
}

TEST(Online, BandCoversItsShareThroughAShift) {
  SeededRandom random(5);
  LiveBand band(0.9, 1.0);
  i64 late = 0, covered = 0;
  for (int i = 0; i < 6000; ++i) {
    f64 noise = 0;
    for (int k = 0; k < 6; ++k) noise += random.uniform() - 0.5;
    f64 measured = std::exp(0.4 * noise + (i > 3000 ? 0.7 : 0));
    if (i > 4000) {
      ++late;
      covered += measured <= band.factor();
    }
    band.observe(1, measured);
  }
  EXPECT_NEAR(static_cast<f64>(covered) / static_cast<f64>(late), 0.9, 0.03);
  EXPECT_NEAR(band.coverage(), 0.9, 0.05);
}

TEST(OutputLength, SketchIsWithinOnePercent) {
  QuantileSketch sketch;
  EXPECT_EQ(sketch.quantile(0.5), 0);
  for (i64 i = 1; i <= 10'000; ++i) sketch.add(i);
  for (f64 q : {0.1, 0.5, 0.9, 0.99}) EXPECT_NEAR(sketch.quantile(q) / (q * 10'000), 1, 0.012);
  sketch.add(-5);
  sketch.add(i64{1} << 60);
  EXPECT_LE(sketch.quantile(1), 1.02 * QuantileSketch::kValueMax);
}

TEST(OutputLength, TenantsBorrowUntilTheyHaveAHistory) {
  OutputLengths lengths;
  EXPECT_GT(lengths.forecast("m", "new", 4096).p90, lengths.forecast("m", "new", 4096).p50);
  for (int i = 0; i < 500; ++i) lengths.observe("m", "terse", 20);
  EXPECT_NEAR(static_cast<f64>(lengths.forecast("m", "other", 4096).p50), 20, 1);
  for (int i = 0; i < 500; ++i) lengths.observe("m", "wordy", 2000);
  EXPECT_NEAR(static_cast<f64>(lengths.forecast("m", "wordy", 4096).p50), 2000, 20);
  EXPECT_NEAR(static_cast<f64>(lengths.forecast("m", "terse", 4096).p50), 20, 1);
  EXPECT_EQ(lengths.forecast("m", "wordy", 100).p90, 100);
}

TEST(Conformal, QuantileIsTheRankThatCoverageNeeds) {
  std::vector<f64> errors;
  for (int i = 1; i <= 9; ++i) errors.push_back(i);
  EXPECT_EQ(conformal_quantile(errors, 0.9), 9);
  EXPECT_EQ(conformal_quantile(errors, 0.5), 5);
  EXPECT_EQ(conformal_quantile(errors, 0.1), 1);
  EXPECT_EQ(conformal_quantile({}, 0.9), 0);
}

// A device never seen must be predicted from its data sheet.
TEST(Predictor, FindsADeviceItNeverSaw) {
  MadeWorld world;
  std::vector<MeasuredCase> known = world.measure("a", 2e12, 4e14);
  for (const MeasuredCase& m : world.measure("b", 3.3e12, 1e15)) known.push_back(m);
  for (const MeasuredCase& m : world.measure("c", 8e12, 2e15)) known.push_back(m);
  Predictor predictor = Predictor::fit(known, {}).value();
  ErrorSums errors;
  for (const MeasuredCase& m : world.measure("d", 4.8e12, 1e15)) {
    Prediction p = predictor.predict(m.c);
    EXPECT_EQ(p.support, Support::kNewDevice);
    EXPECT_LE(p.tpot_ms.p10, p.tpot_ms.p50);
    EXPECT_LE(p.tpot_ms.p50, p.tpot_ms.p90);
    errors.add(m, p);
  }
  EXPECT_LT(median(errors.tpot), 0.06);
  EXPECT_LT(median(errors.request), 0.08);
  EXPECT_LT(median(errors.ttft), 0.20);
}

TEST(Predictor, RefusesToLearnFromNothing) {
  EXPECT_FALSE(Predictor::fit({}, {}).ok());
}

TEST(Calibration, ChosenCasesSpreadAndAreDistinct) {
  std::vector<MeasuredCase> cases = MadeWorld().measure("a", 2e12, 4e14);
  std::vector<const Case*> pointers;
  for (const MeasuredCase& m : cases) pointers.push_back(&m.c);
  std::vector<std::size_t> chosen = choose_calibration_cases(pointers, 12);
  EXPECT_EQ(std::set<std::size_t>(chosen.begin(), chosen.end()).size(), 12u);
  // Together they are more alike all cases than as many taken evenly.
  auto covered = [&](const std::vector<std::size_t>& by) {
    f64 sum = 0;
    for (const Case* c : pointers) {
      f64 best = 0;
      for (std::size_t i : by) best = std::max(best, likeness(*pointers[i], *c));
      sum += best;
    }
    return sum;
  };
  std::vector<std::size_t> evenly;
  for (std::size_t i = 0; i < cases.size() && evenly.size() < 12; i += 5) evenly.push_back(i);
  EXPECT_GT(covered(chosen), covered(evenly));
}

}  // namespace
}  // namespace tg::predict
