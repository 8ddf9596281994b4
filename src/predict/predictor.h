// Time to the first token, time per token and time of a request, each with an interval whose
// coverage was measured on cases held out the way the asked one is (same device or not, same model
// or not).
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "predict/case.h"
#include "predict/latency_model.h"

namespace tg::predict {

struct Interval {
  f64 p10 = 0;
  f64 p50 = 0;
  f64 p90 = 0;
};

struct Prediction {
  Interval ttft_ms;
  Interval tpot_ms;
  Interval request_ms;     // all of one request's output
  f64 device_seconds = 0;  // per request, of all devices at work for it
  Support support = Support::kSeen;
};

struct MeasuredCase {
  Case c;
  f64 ttft_ms = 0;  // 0: not measured
  f64 tpot_ms = 0;

  f64 request_ms() const { return ttft_ms + (c.setting.output - 1) * tpot_ms; }
};

struct PredictorOptions {
  std::size_t rows_max = kProcessRowsMax;  // of each latency's residual process
  bool makes_intervals = true;             // false: p10 = p50 = p90
};

class Predictor {
 public:
  // Copies the cases. kInvalid if none has a time per token and one a time to the first.
  static Result<Predictor> fit(std::span<const MeasuredCase> cases,
                               const PredictorOptions& options);

  Prediction predict(const Case& c) const;
  const LatencyModel& tpot() const { return tpot_; }
  const LatencyModel& ttft() const { return ttft_; }

 private:
  // Factors on a prediction, of one kind of support.
  struct Band {
    f64 low = 1;
    f64 high = 1;
  };
  struct Bands {
    Band ttft, tpot, request;
  };

  void fit_bands(const PredictorOptions& options);

  std::vector<std::unique_ptr<MeasuredCase>> cases_;  // addresses that the models borrow
  LatencyModel tpot_;
  LatencyModel ttft_;
  std::array<Bands, static_cast<std::size_t>(Support::kCount)> bands_{};
};

// The conformal quantiles of log errors: the ceil((n+1)q)-th smallest, widened towards the extremes
// where there are few. REQUIRES: 0 < q < 1.
f64 conformal_quantile(std::vector<f64> errors, f64 q);

}  // namespace tg::predict
