// Constants below were chosen on grouped splits (bench/results), never on random rows.
#include "predict/latency_model.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "predict/least_squares.h"

namespace tg::predict {

namespace {

constexpr f64 kSharedPull = 0.03;    // of the prior, relative to a term's share
constexpr f64 kEnginePull = 0.2;     // of an engine's own weight towards 0
constexpr f64 kPortableShare = 0.5;  // of the portable correction that is applied
constexpr f64 kPortableClip = 0.5;   // log ratio; what is further off is taken for a mishap
constexpr f64 kFullClip = 1.5;
constexpr std::size_t kPortableLeaf = 20;
constexpr f64 kRowsForForest = 20;    // measured rows of a kind at which the forest counts half
constexpr f64 kNeighbourPrior = 0.2;  // weight of "no correction" against neighbours
constexpr f64 kNeighbourClip = 1.0;
// A neighbour on another device counts by how near the data sheets are, and less if it is far off.
constexpr f64 kOtherDevice = 0.2;
constexpr f64 kOtherDeviceClip = 0.5;
constexpr f64 kOtherGeneration = 0.2;
constexpr f64 kBandwidthScale = 0.3;  // log ratio
constexpr f64 kMsFloor = 1e-3;

constexpr std::array<f64, kTpotTerms> kTpotPrior = {1, 1, 1,   0.5, 0.2, 1.5, 1.5, 3,
                                                    1, 1, 0.2, 1,   1,   0.5, 0.5, 1};
constexpr std::array<f64, kTtftTerms> kTtftPrior = {1, 1, 0.5, 0.5, 1, 0.5, 1, 0.3, 1, 1, 0.1, 0.5};

std::string seen_key(const Case& c) {
  return c.model_key + "|" + c.setting.system + "|" + c.setting.engine;
}

f64 square(f64 x) {
  return x * x;
}

// 1 for devices of one bandwidth and generation.
f64 device_likeness(const Case& a, const Case& b) {
  f64 distance = (a.features[kBandwidthFeature] - b.features[kBandwidthFeature]) / kBandwidthScale;
  constexpr f64 kGenerationStep = 10;
  bool is_same_generation = std::floor(a.features[kGenerationFeature] / kGenerationStep) ==
                            std::floor(b.features[kGenerationFeature] / kGenerationStep);
  return std::exp(-0.5 * square(distance)) * (is_same_generation ? 1 : kOtherGeneration);
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
  constexpr std::array<f64, 7> kScale = {1.35, 1.8, 0.9, 1.2, 1.05, 1.05, 1.05};
  f64 distance = 0;
  for (std::size_t i = 0; i < kScale.size(); ++i)
    distance += square((a.features[i] - b.features[i]) / kScale[i]);
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

f64 LatencyModel::engine_code(const std::string& engine) const {
  std::vector<std::string>::const_iterator found =
      std::lower_bound(engines_.begin(), engines_.end(), engine);
  bool is_known = found != engines_.end() && *found == engine;
  return is_known ? static_cast<f64>(found - engines_.begin()) : -1;
}

// Terms in milliseconds, once shared and once in the engine's own columns. An engine never measured
// stands for the mean of those that were.
std::vector<f64> LatencyModel::design_row(const Case& c) const {
  std::span<const f64> t = terms(c);
  std::vector<f64> row(t.size() * (1 + engines_.size()), 0);
  f64 own = engine_code(c.setting.engine);
  for (std::size_t j = 0; j < t.size(); ++j) {
    row[j] = t[j] * 1e3;
    for (std::size_t e = 0; e < engines_.size(); ++e) {
      f64 share = own < 0 ? 1 / static_cast<f64>(engines_.size())
                          : (static_cast<std::size_t>(own) == e ? 1.0 : 0.0);
      row[(e + 1) * t.size() + j] = row[j] * share;
    }
  }
  return row;
}

void LatencyModel::fit_weights(std::span<const Case* const> cases, std::span<const f64> y_ms) {
  bool is_tpot = options_.latency == Latency::kTpot;
  std::size_t n = is_tpot ? std::size_t{kTpotTerms} : std::size_t{kTtftTerms};
  Matrix a{.rows = cases.size(), .columns = n * (1 + engines_.size()), .values = {}};
  a.values.reserve(a.rows * a.columns);
  for (const Case* c : cases) {
    std::vector<f64> row = design_row(*c);
    a.values.insert(a.values.end(), row.begin(), row.end());
  }
  std::vector<f64> prior(a.columns, 0), pull(a.columns, kEnginePull);
  for (std::size_t j = 0; j < n; ++j) {
    prior[j] = options_.latency == Latency::kTpot ? kTpotPrior[j] : kTtftPrior[j];
    pull[j] = kSharedPull;
  }
  weights_ = fit_ratios({a, y_ms, prior, pull});
}

std::vector<f64> LatencyModel::portable_features(const Case& c) const {
  std::vector<f64> out(c.features.begin(), c.features.begin() + kPortableFeatures);
  out.push_back(engine_code(c.setting.engine));
  return out;
}

std::vector<f64> LatencyModel::all_features(const Case& c) const {
  std::vector<f64> out(c.features.begin(), c.features.end());
  out.push_back(engine_code(c.setting.engine));
  return out;
}

Matrix LatencyModel::feature_matrix(std::span<const Case* const> cases, bool is_portable) const {
  Matrix x{.rows = cases.size(),
           .columns = (is_portable ? kPortableFeatures : kFeatures) + 1,
           .values = {}};
  x.values.reserve(x.rows * x.columns);
  for (const Case* c : cases) {
    std::vector<f64> row = is_portable ? portable_features(*c) : all_features(*c);
    x.values.insert(x.values.end(), row.begin(), row.end());
  }
  return x;
}

void LatencyModel::fit_corrections(std::span<const Case* const> cases, std::span<const f64> y_ms) {
  std::size_t n = cases.size();
  std::vector<f64> residual(n), clipped(n), weights(n);
  for (std::size_t i = 0; i < n; ++i) {
    residual[i] = std::log(y_ms[i] / base_ms(*cases[i]));
    clipped[i] = std::clamp(residual[i], -kPortableClip, kPortableClip);
    weights[i] = 1 / (1 + square(square(residual[i] / kPortableClip)));
  }
  portable_ = Forest::fit(feature_matrix(cases, true), clipped, weights,
                          {.trees = options_.trees,
                           .leaf_rows_min = kPortableLeaf,
                           .feature_share = 0.5,
                           .seed = options_.seed});
  for (std::size_t i = 0; i < n; ++i) {
    residual[i] -= portable_correction(*cases[i]);
    clipped[i] = std::clamp(residual[i], -kFullClip, kFullClip);
    neighbours_.push_back({cases[i], std::clamp(residual[i], -kNeighbourClip, kNeighbourClip)});
  }
  std::fill(weights.begin(), weights.end(), 1.0);
  full_ = Forest::fit(feature_matrix(cases, false), clipped, weights,
                      {.trees = options_.trees,
                       .leaf_rows_min = 2,
                       .feature_share = 0.6,
                       .seed = options_.seed + 1});
}

LatencyModel LatencyModel::fit(std::span<const Case* const> cases, std::span<const f64> y_ms,
                               const LatencyOptions& options) {
  TG_ASSERT(cases.size() == y_ms.size());
  LatencyModel out;
  out.options_ = options;
  std::vector<const Case*> kept;
  std::vector<f64> y;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!(y_ms[i] > 0)) continue;
    kept.push_back(cases[i]);
    y.push_back(y_ms[i]);
    ++out.seen_[seen_key(*cases[i])];
    ++out.devices_[cases[i]->setting.system];
    ++out.models_[cases[i]->model_key];
    out.engines_.push_back(cases[i]->setting.engine);
  }
  std::sort(out.engines_.begin(), out.engines_.end());
  out.engines_.erase(std::unique(out.engines_.begin(), out.engines_.end()), out.engines_.end());
  out.fit_weights(kept, y);
  if (options.corrects) out.fit_corrections(kept, y);
  return out;
}

f64 LatencyModel::base_ms(const Case& c) const {
  std::vector<f64> row = design_row(c);
  return std::max(dot(row, weights_), kMsFloor);
}

f64 LatencyModel::portable_correction(const Case& c) const {
  return kPortableShare * portable_.predict(portable_features(c));
}

f64 LatencyModel::neighbour_correction(const Case& c) const {
  f64 weight = kNeighbourPrior, sum = 0;
  for (const Neighbour& near : neighbours_) {
    bool is_same_device = near.c->setting.system == c.setting.system;
    if (!is_same_device && near.c->model_key != c.model_key) continue;
    f64 like = likeness(*near.c, c);
    f64 residual = near.residual;
    if (!is_same_device) {
      like *= kOtherDevice * device_likeness(*near.c, c) /
              (1 + square(square(residual / kOtherDeviceClip)));
      residual = std::clamp(residual, -kOtherDeviceClip, kOtherDeviceClip);
    }
    weight += like;
    sum += like * residual;
  }
  return sum / weight;
}

f64 LatencyModel::predict(const Case& c) const {
  f64 base = base_ms(c);
  if (!options_.corrects) return base;
  std::map<std::string, i64>::const_iterator seen = seen_.find(seen_key(c));
  f64 rows = seen == seen_.end() ? 0 : static_cast<f64>(seen->second);
  f64 share = rows / (rows + kRowsForForest);
  f64 correction = portable_correction(c);
  if (share > 0) correction += share * full_.predict(all_features(c));
  correction += (1 - share) * neighbour_correction(c);
  return base * std::exp(correction);
}

Support LatencyModel::support(const Case& c) const {
  bool has_device = devices_.contains(c.setting.system);
  bool has_model = models_.contains(c.model_key);
  if (has_device) return has_model ? Support::kSeen : Support::kNewModel;
  return has_model ? Support::kNewDevice : Support::kNewBoth;
}

}  // namespace tg::predict
