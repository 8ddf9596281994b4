// Both learners cost a few hundred operations a report and allocate only when made.
#include "predict/online.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "predict/least_squares.h"

namespace tg::predict {

OnlineWeights::OnlineWeights(std::span<const f64> start, const OnlineOptions& options)
    : options_(options), weights_(start.begin(), start.end()) {
  TG_ASSERT(!start.empty() && options.uncertainty > 0);
  TG_ASSERT(options.forgetting > 0 && options.forgetting <= 1);
  std::size_t n = weights_.size();
  covariance_.assign(n * n, 0);
  constexpr f64 kSpreadFloor = 0.05;  // so that a weight that starts at 0 can grow
  for (std::size_t j = 0; j < n; ++j) {
    TG_ASSERT(weights_[j] >= 0);
    f64 spread = options.uncertainty * std::max(weights_[j], kSpreadFloor);
    start_variance_.push_back(spread * spread);
    covariance_[j * n + j] = start_variance_[j];
  }
}

f64 OnlineWeights::predict(std::span<const f64> terms) const {
  return dot(terms, weights_);
}

void OnlineWeights::update(std::span<const f64> terms, f64 measured) {
  std::size_t n = weights_.size();
  f64 predicted = predict(terms);
  bool is_usable = std::isfinite(measured) && measured > 0 && predicted > 0;
  if (!is_usable) return;
  // In units of the prediction, so that long and short steps count alike.
  f64 ratio = std::clamp(measured / predicted, 1 / kReportOutlier, kReportOutlier);
  std::vector<f64> x(n), gain(n);
  for (std::size_t j = 0; j < n; ++j) x[j] = terms[j] / predicted;
  for (std::size_t j = 0; j < n; ++j) gain[j] = dot(std::span(covariance_).subspan(j * n, n), x);
  constexpr f64 kNoise = 0.05;  // log error of a step that no weights explain
  f64 denominator = options_.forgetting * kNoise * kNoise + dot(x, gain);
  for (std::size_t j = 0; j < n; ++j)
    weights_[j] = std::max(0.0, weights_[j] + gain[j] / denominator * (ratio - 1));
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < n; ++k) {
      f64& entry = covariance_[j * n + k];
      entry = (entry - gain[j] * gain[k] / denominator) / options_.forgetting;
    }
  }
  // Terms that reports do not excite would otherwise grow without bound.
  for (std::size_t j = 0; j < n; ++j) {
    f64 excess = covariance_[j * n + j] / start_variance_[j];
    if (excess <= 1) continue;
    f64 shrink = 1 / std::sqrt(excess);
    for (std::size_t k = 0; k < n; ++k) {
      covariance_[j * n + k] *= shrink;
      covariance_[k * n + j] *= shrink;
    }
  }
}

LiveBand::LiveBand(f64 quantile, f64 start) : quantile_(quantile), log_factor_(std::log(start)) {
  TG_ASSERT(quantile > 0 && quantile < 1 && start > 0);
}

f64 LiveBand::factor() const {
  return std::exp(log_factor_);
}

void LiveBand::observe(f64 predicted, f64 bound, f64 measured) {
  TG_ASSERT(predicted > 0 && bound > 0 && measured > 0);
  f64 error = std::log(measured / predicted);
  bool is_covered = measured <= bound;
  ++observations_;
  covered_ += is_covered;
  constexpr f64 kScaleMemory = 0.02, kStep = 0.1;
  scale_ += kScaleMemory * (std::min(std::abs(error - log_factor_), 2.0) - scale_);
  log_factor_ += kStep * scale_ * (is_covered ? quantile_ - 1 : quantile_);
}

f64 LiveBand::coverage() const {
  return observations_ == 0 ? 0 : static_cast<f64>(covered_) / static_cast<f64>(observations_);
}

}  // namespace tg::predict
