// Learning while serving: weights over nominal times that follow step reports, and a factor that
// keeps a stated share of measurements below a prediction whatever the errors do.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::predict {

struct OnlineOptions {
  f64 forgetting = 0.998;  // weight of the past at each report: 500 reports are remembered
  f64 uncertainty = 0.5;   // how far the starting weights may be off, relative to themselves
};

// Recursive least squares with forgetting on errors relative to the prediction, kept non-negative.
class OnlineWeights {
 public:
  // REQUIRES: start is not empty and not negative; 0 < forgetting <= 1; uncertainty > 0.
  OnlineWeights(std::span<const f64> start, const OnlineOptions& options);

  // Sum of weight times term. REQUIRES: as many terms as weights.
  f64 predict(std::span<const f64> terms) const;
  // Learns that these terms took `measured`, in the terms' unit. Reports that are not positive or
  // not finite are ignored, and one that is off by more than a factor of kReportOutlier counts as
  // off by that. REQUIRES: as many terms as weights.
  void update(std::span<const f64> terms, f64 measured);
  std::span<const f64> weights() const { return weights_; }

  static constexpr f64 kReportOutlier = 4;

 private:
  OnlineOptions options_;
  std::vector<f64> weights_;
  std::vector<f64> covariance_;  // [n,n]
  std::vector<f64> start_variance_;
};

// A quantile of measured over predicted, followed by stochastic approximation (adaptive conformal
// inference, Gibbs and Candes 2021), so that coverage holds over time even when the model drifts.
class LiveBand {
 public:
  // `start` is the first factor. REQUIRES: 0 < quantile < 1, start > 0.
  LiveBand(f64 quantile, f64 start);

  // Predictions times this are above measurements in a share `quantile` of cases.
  f64 factor() const;
  // REQUIRES: both positive.
  void observe(f64 predicted, f64 measured) { observe(predicted, predicted * factor(), measured); }
  // ... where `bound` was promised when the prediction was made, perhaps many observations ago: the
  // share holds for promises, also when errors come in bursts. REQUIRES: all positive.
  void observe(f64 predicted, f64 bound, f64 measured);
  // Share of observations that were below their prediction times the factor of their time; 0 before
  // the first.
  f64 coverage() const;
  i64 observations() const { return observations_; }

 private:
  f64 quantile_;
  f64 log_factor_;
  f64 scale_ = 0.2;  // mean absolute log error, which sets the step
  i64 observations_ = 0;
  i64 covered_ = 0;
};

}  // namespace tg::predict
