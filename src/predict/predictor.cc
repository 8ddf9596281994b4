// Intervals are split-conformal by kind of support: each kind's errors come from models fitted
// without the device, the model or the configuration of the cases they are made on.
#include "predict/predictor.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "base/assert.h"
#include "base/hash.h"

namespace tg::predict {

namespace {

constexpr f64 kLow = 0.1, kHigh = 0.9;
constexpr int kFolds = 4;
// Folds' models see fewer rows, which errs towards wide bands.
constexpr std::size_t kBandRowsMax = 800;

struct Pointers {
  std::vector<const Case*> cases;
  std::vector<f64> tpot_ms;
  std::vector<f64> ttft_ms;
};

struct Models {
  LatencyModel tpot;
  LatencyModel ttft;
};

Models fit_models(const Pointers& p, std::size_t rows_max) {
  return {LatencyModel::fit(p.cases, p.tpot_ms, {.latency = Latency::kTpot, .rows_max = rows_max}),
          LatencyModel::fit(p.cases, p.ttft_ms, {.latency = Latency::kTtft, .rows_max = rows_max})};
}

struct Errors {
  std::vector<f64> ttft, tpot, request;
};

u64 group_hash(const std::string& key) {
  u64 hash = 14695981039346656037ull;  // FNV-1a
  for (char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return hash;
}

}  // namespace

f64 conformal_quantile(std::vector<f64> errors, f64 q) {
  TG_ASSERT(q > 0 && q < 1);
  if (errors.empty()) return 0;
  std::sort(errors.begin(), errors.end());
  f64 n = static_cast<f64>(errors.size());
  f64 rank = q >= 0.5 ? std::ceil((n + 1) * q) : std::floor((n + 1) * q);
  return errors[static_cast<std::size_t>(std::clamp(rank, 1.0, n)) - 1];
}

Result<Predictor> Predictor::fit(std::span<const MeasuredCase> cases,
                                 const PredictorOptions& options) {
  Predictor out;
  Pointers all;
  for (const MeasuredCase& measured : cases) {
    out.cases_.push_back(std::make_unique<MeasuredCase>(measured));
    all.cases.push_back(&out.cases_.back()->c);
    all.tpot_ms.push_back(measured.tpot_ms);
    all.ttft_ms.push_back(measured.ttft_ms);
  }
  auto is_measured = [](f64 ms) { return ms > 0; };
  if (std::none_of(all.tpot_ms.begin(), all.tpot_ms.end(), is_measured) ||
      std::none_of(all.ttft_ms.begin(), all.ttft_ms.end(), is_measured))
    return Error{Code::kInvalid, "prediction: no measured times to learn from"};
  Models models = fit_models(all, options.rows_max);
  out.tpot_ = std::move(models.tpot);
  out.ttft_ = std::move(models.ttft);
  if (options.makes_intervals) out.fit_bands(options);
  return out;
}

void Predictor::fit_bands(const PredictorOptions& options) {
  std::array<Errors, static_cast<std::size_t>(Support::kCount)> errors;
  // Fits without the cases that `is_held` picks and notes their errors under how they now look.
  auto hold_out = [&](const std::function<bool(const Case&)>& is_held) {
    Pointers rest;
    for (const std::unique_ptr<MeasuredCase>& m : cases_) {
      if (is_held(m->c)) continue;
      rest.cases.push_back(&m->c);
      rest.tpot_ms.push_back(m->tpot_ms);
      rest.ttft_ms.push_back(m->ttft_ms);
    }
    if (rest.cases.empty()) return;
    Models models = fit_models(rest, std::min(options.rows_max, kBandRowsMax));
    for (const std::unique_ptr<MeasuredCase>& m : cases_) {
      if (!is_held(m->c) || m->tpot_ms <= 0 || m->ttft_ms <= 0) continue;
      f64 tpot = models.tpot.predict(m->c), ttft = models.ttft.predict(m->c);
      f64 request = ttft + (m->c.setting.output - 1) * tpot;
      Errors& into = errors[static_cast<std::size_t>(models.tpot.support(m->c))];
      into.tpot.push_back(std::log(m->tpot_ms / tpot));
      into.ttft.push_back(std::log(m->ttft_ms / ttft));
      into.request.push_back(std::log(m->request_ms() / request));
    }
  };
  std::set<std::string> systems, models;
  for (const std::unique_ptr<MeasuredCase>& m : cases_) {
    systems.insert(m->c.setting.system);
    models.insert(m->c.model_key);
  }
  for (u64 fold = 0; fold < kFolds; ++fold)
    hold_out([fold](const Case& c) {
      return group_hash(configuration_key(c.setting)) % kFolds == fold;
    });
  for (const std::string& system : systems)
    hold_out([&system](const Case& c) { return c.setting.system == system; });
  for (const std::string& model : models)
    hold_out([&model](const Case& c) { return c.model_key == model; });
  Errors& both = errors[static_cast<std::size_t>(Support::kNewBoth)];
  for (Support part : {Support::kNewDevice, Support::kNewModel}) {
    const Errors& from = errors[static_cast<std::size_t>(part)];
    both.tpot.insert(both.tpot.end(), from.tpot.begin(), from.tpot.end());
    both.ttft.insert(both.ttft.end(), from.ttft.begin(), from.ttft.end());
    both.request.insert(both.request.end(), from.request.begin(), from.request.end());
  }
  auto band = [](const std::vector<f64>& e) {
    return Band{std::exp(conformal_quantile(e, kLow)), std::exp(conformal_quantile(e, kHigh))};
  };
  for (std::size_t i = 0; i < bands_.size(); ++i)
    bands_[i] = {band(errors[i].ttft), band(errors[i].tpot), band(errors[i].request)};
}

Prediction Predictor::predict(const Case& c) const {
  Prediction out;
  out.support = tpot_.support(c);
  const Bands& bands = bands_[static_cast<std::size_t>(out.support)];
  f64 tpot = tpot_.predict(c), ttft = ttft_.predict(c);
  f64 request = ttft + (c.setting.output - 1) * tpot;
  auto interval = [](f64 ms, const Band& b) {
    return Interval{std::min(ms, ms * b.low), ms, std::max(ms, ms * b.high)};
  };
  out.tpot_ms = interval(tpot, bands.tpot);
  out.ttft_ms = interval(ttft, bands.ttft);
  out.request_ms = interval(request, bands.request);
  out.device_seconds = c.devices * request / 1e3 / c.setting.concurrency;
  return out;
}

}  // namespace tg::predict
