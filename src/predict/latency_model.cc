// Constants below were chosen on grouped splits (bench/results), never on random rows.
#include "predict/latency_model.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "predict/least_squares.h"

namespace tg::predict {

namespace {

constexpr f64 kPull = 0.05;         // of weights to the prior, relative to a term's share
constexpr f64 kResidualClip = 1;    // log ratio; what is further off is taken for a mishap
constexpr f64 kTtftSpread = 2;      // residuals of first tokens are so many times those of tokens
constexpr f64 kDraftPrior = -0.45;  // a token and a half from each step
constexpr f64 kDraftPriorRows = 20;
constexpr int kDraftRounds = 3;
constexpr f64 kMsFloor = 1e-3;

constexpr std::array<f64, kTpotTerms> kTpotPrior = {1, 1,   1, 0.5, 0.2, 1.5, 1.5, 3, 1,
                                                    1, 0.2, 2, 1,   1,   0.5, 0.5, 1};
constexpr std::array<f64, kTtftTerms> kTtftPrior = {1, 1, 0.5, 0.5, 1, 0.5, 1, 0.3, 1, 1, 0.1, 0.5};

f64 square(f64 x) {
  return x * x;
}

}  // namespace

f64 likeness(const Case& a, const Case& b) {
  const Setting &s = a.setting, &t = b.setting;
  constexpr f64 kOtherModel = 0.015, kOtherEngine = 0.2, kOtherVersion = 0.6, kOtherFormat = 0.5,
                kOtherPool = 0.1, kOtherDraft = 0.2;
  f64 out = 1;
  if (a.model_key != b.model_key) out *= kOtherModel;
  if (s.engine != t.engine) out *= kOtherEngine;
  if (s.version != t.version) out *= kOtherVersion;
  if (s.gemm_mode != t.gemm_mode || s.precision != t.precision) out *= kOtherFormat;
  if (a.basis.is_pool != b.basis.is_pool) out *= kOtherPool;
  if (a.basis.is_draft_likely != b.basis.is_draft_likely) out *= kOtherDraft;
  // Concurrency, batch, devices, replicas, expert parallelism, prompt, output.
  constexpr std::array<f64, kSituationFeatures> kScale = {1.35, 1.8, 0.9, 1.2, 1.05, 1.05, 1.05};
  f64 distance = 0;
  for (std::size_t i = 0; i < kScale.size(); ++i)
    distance += square((a.situation[i] - b.situation[i]) / kScale[i]);
  return out * std::exp(-0.5 * distance);
}

std::vector<std::size_t> choose_calibration_cases(std::span<const Case* const> candidates,
                                                  i64 count) {
  std::size_t n = candidates.size();
  std::vector<f64> covered(n, 0);
  std::vector<u8> is_chosen(n, 0);
  std::vector<std::size_t> out;
  while (out.size() < n && static_cast<i64>(out.size()) < count) {
    std::size_t best = n;
    f64 best_gain = -1;
    for (std::size_t i = 0; i < n; ++i) {
      if (is_chosen[i] != 0) continue;
      f64 gain = 0;
      for (std::size_t j = 0; j < n; ++j)
        gain += std::max(0.0, likeness(*candidates[i], *candidates[j]) - covered[j]);
      if (gain > best_gain) {
        best = i;
        best_gain = gain;
      }
    }
    for (std::size_t j = 0; j < n; ++j)
      covered[j] = std::max(covered[j], likeness(*candidates[best], *candidates[j]));
    is_chosen[best] = 1;
    out.push_back(best);
  }
  return out;
}

std::span<const f64> LatencyModel::terms(const Case& c) const {
  if (options_.latency == Latency::kTpot) return c.basis.tpot;
  return c.basis.ttft;
}

// Terms in milliseconds.
Matrix LatencyModel::design(std::span<const Case* const> cases) const {
  bool is_tpot = options_.latency == Latency::kTpot;
  Matrix a{.rows = cases.size(),
           .columns = is_tpot ? std::size_t{kTpotTerms} : std::size_t{kTtftTerms},
           .values = {}};
  a.values.reserve(a.rows * a.columns);
  for (const Case* c : cases) {
    for (f64 seconds : terms(*c)) a.values.push_back(seconds * 1e3);
  }
  return a;
}

void LatencyModel::fit_weights(std::span<const Case* const> cases, std::span<const f64> y_ms) {
  std::vector<f64> prior(kTtftPrior.begin(), kTtftPrior.end());
  if (options_.latency == Latency::kTpot) prior.assign(kTpotPrior.begin(), kTpotPrior.end());
  std::vector<f64> pull(prior.size(), kPull), plain(y_ms.begin(), y_ms.end());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (cases[i]->basis.is_draft_likely) plain[i] *= std::exp(-draft_factor_);
  }
  weights_ = fit_ratios({design(cases), plain, prior, pull});
}

// The median of what the weights are off by where drafts are likely.
void LatencyModel::fit_draft_factor(std::span<const Case* const> cases, std::span<const f64> y_ms) {
  std::vector<f64> residuals;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases[i]->basis.is_draft_likely)
      residuals.push_back(std::log(y_ms[i] / without_drafts_ms(*cases[i])));
  }
  if (residuals.empty()) return;
  std::ptrdiff_t half = static_cast<std::ptrdiff_t>(residuals.size() / 2);
  std::nth_element(residuals.begin(), residuals.begin() + half, residuals.end());
  f64 rows = static_cast<f64>(residuals.size());
  f64 median = residuals[static_cast<std::size_t>(half)];
  draft_factor_ = (median * rows + kDraftPrior * kDraftPriorRows) / (rows + kDraftPriorRows);
}

LatencyModel LatencyModel::fit(std::span<const Case* const> cases, std::span<const f64> y_ms,
                               const LatencyOptions& options) {
  TG_ASSERT(cases.size() == y_ms.size());
  LatencyModel out;
  out.options_ = options;
  std::vector<const Case*> kept;
  std::vector<f64> y, residuals;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!(y_ms[i] > 0)) continue;
    kept.push_back(cases[i]);
    y.push_back(y_ms[i]);
    ++out.devices_[cases[i]->setting.system];
    ++out.models_[cases[i]->model_key];
  }
  bool has_drafts = options.latency == Latency::kTpot;
  if (has_drafts) out.draft_factor_ = kDraftPrior;
  for (int round = 0; has_drafts && round < kDraftRounds; ++round) {
    out.fit_weights(kept, y);
    out.fit_draft_factor(kept, y);
  }
  out.fit_weights(kept, y);
  if (!options.corrects) return out;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    f64 residual = std::log(y[i] / out.base_ms(*kept[i])) / out.spread();
    residuals.push_back(std::clamp(residual, -kResidualClip, kResidualClip));
  }
  out.process_ = ResidualProcess::fit(kept, residuals, options.rows_max);
  return out;
}

f64 LatencyModel::spread() const {
  return options_.latency == Latency::kTpot ? 1 : kTtftSpread;
}

f64 LatencyModel::without_drafts_ms(const Case& c) const {
  return std::max(dot(terms(c), weights_) * 1e3, kMsFloor);
}

f64 LatencyModel::base_ms(const Case& c) const {
  return without_drafts_ms(c) * std::exp(c.basis.is_draft_likely ? draft_factor_ : 0);
}

f64 LatencyModel::predict(const Case& c) const {
  return base_ms(c) * std::exp(spread() * process_.predict(c));
}

Support LatencyModel::support(const Case& c) const {
  bool has_device = devices_.contains(c.setting.system);
  bool has_model = models_.contains(c.model_key);
  if (has_device) return has_model ? Support::kSeen : Support::kNewModel;
  return has_model ? Support::kNewDevice : Support::kNewBoth;
}

}  // namespace tg::predict
