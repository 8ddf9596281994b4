// Kriging with a covariance that is a sum of parts, each shared by cases that have something in
// common. Its constants were chosen on rows held out by device, by model and but for a few.
#include "predict/residual_process.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::predict {

namespace {

constexpr f64 kNoise = 0.1;  // of a measurement's logarithm, standard deviation
constexpr f64 kWild = 0.31;  // log ratio from which a row counts half and less

u64 text_hash(std::string_view text) {
  u64 hash = 14695981039346656037ull;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return hash;
}

f64 square(f64 x) {
  return x * x;
}

// A factor for what two cases do not share.
f64 unless(bool is_shared, f64 factor) {
  return is_shared ? 1 : factor;
}

f64 fading(f64 squared_distance, f64 reach) {
  return std::exp(-0.5 * squared_distance / square(reach));
}

constexpr std::size_t kBlock = 32;  // rows that share a pass over those above them

f64 dot(const f64* a, const f64* b, std::size_t n) {
  f64 s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

// Cholesky's factor in place of the lower half.
void factor(std::vector<f64>& a, std::size_t n) {
  for (std::size_t first = 0; first < n; first += kBlock) {
    std::size_t last = std::min(first + kBlock, n);
    for (std::size_t j = 0; j < last; ++j) {
      for (std::size_t i = std::max(first, j); i < last; ++i) {
        f64 rest = a[i * n + j] - dot(&a[i * n], &a[j * n], j);
        if (i == j) TG_ASSERT(rest > 0);
        a[i * n + j] = i == j ? std::sqrt(rest) : rest / a[j * n + j];
      }
    }
  }
}

}  // namespace

Traits traits_of(const Case& c) {
  const Setting& s = c.setting;
  // How far apart is far: concurrency, batch, devices, replicas, expert parallelism, lengths.
  constexpr std::array<f64, kSituationFeatures> kScale = {1.35, 1.8, 0.9, 1.2, 1.05, 1.05, 1.05};
  Traits t;
  for (std::size_t i = 0; i < kScale.size(); ++i) t.place[i] = c.situation[i] / kScale[i];
  t.shares = c.basis.shares;
  t.bandwidth = c.log_bandwidth;
  constexpr i64 kGenerationStep = 10;
  t.generation = c.generation / kGenerationStep;
  t.model = text_hash(c.model_key);
  t.system = text_hash(s.system);
  t.engine = text_hash(s.engine);
  t.version = text_hash(s.engine + "|" + s.version);
  t.format = text_hash(s.gemm_mode + "|" + s.precision);
  t.is_pool = c.basis.is_pool;
  t.is_draft_likely = c.basis.is_draft_likely;
  t.campaign = s.campaign;
  return t;
}

f64 covariance(const Traits& a, const Traits& b) {
  f64 apart = 0, shares = 0;
  for (std::size_t i = 0; i < a.place.size(); ++i) apart += square(a.place[i] - b.place[i]);
  for (std::size_t i = 0; i < a.shares.size(); ++i) shares += square(a.shares[i] - b.shares[i]);
  bool engine = a.engine == b.engine, system = a.system == b.system, model = a.model == b.model;
  // Whatever is predicted, in like situations.
  f64 sum = square(0.12) * fading(apart, 1.5) * fading(shares, 0.5) * unless(engine, 0.8);
  // A release of an engine, whatever it runs.
  bool campaign = a.campaign == b.campaign;
  if (a.version == b.version) sum += square(0.055) * fading(apart, 0.67) * unless(campaign, 0.5);
  if (system) sum += square(0.13) * fading(apart, 3) * unless(engine, 0.23);
  if (model) {
    bool format = a.format == b.format, version = a.version == b.version;
    sum += square(0.12) * fading(apart, 2) * unless(engine, 0.18);
    // ... on devices that are alike: the most of it.
    f64 likeness = fading(square(a.bandwidth - b.bandwidth), 1.36) *
                   unless(a.generation == b.generation, 0.5) * unless(format, 0.5);
    sum += square(0.41) * likeness * fading(apart, 2.7) * unless(engine, 0.13);
    if (system) {
      sum += square(0.19) * fading(apart, 5) * unless(engine, 0.3);
      sum += square(0.15) * fading(apart, 1) * unless(engine, 0.1) * unless(version, 0.6) *
             unless(format, 0.5);
    }
  }
  return sum * unless(a.is_pool == b.is_pool, 0.2) *
         unless(a.is_draft_likely == b.is_draft_likely, 0.3);
}

void solve_positive(std::vector<f64>& a, std::vector<f64>& y) {
  std::size_t n = y.size();
  TG_ASSERT(a.size() == n * n);
  factor(a, n);
  for (std::size_t i = 0; i < n; ++i) y[i] = (y[i] - dot(&a[i * n], y.data(), i)) / a[i * n + i];
  for (std::size_t i = n; i-- > 0;) {
    y[i] /= a[i * n + i];
    for (std::size_t j = 0; j < i; ++j) y[j] -= a[i * n + j] * y[i];
  }
}

ResidualProcess ResidualProcess::fit(std::span<const Case* const> cases,
                                     std::span<const f64> residuals, std::size_t rows_max) {
  TG_ASSERT(cases.size() == residuals.size() && rows_max > 0);
  ResidualProcess out;
  std::size_t n = std::min(cases.size(), rows_max);
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t taken = i * cases.size() / n;
    out.rows_.push_back(traits_of(*cases[taken]));
    out.weights_.push_back(residuals[taken]);
  }
  std::vector<f64> k(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) k[i * n + j] = covariance(out.rows_[i], out.rows_[j]);
    k[i * n + i] += square(kNoise) * (1 + square(square(out.weights_[i] / kWild)));
  }
  solve_positive(k, out.weights_);
  return out;
}

f64 ResidualProcess::predict(const Case& c) const {
  Traits asked = traits_of(c);
  f64 sum = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) sum += weights_[i] * covariance(rows_[i], asked);
  return sum;
}

}  // namespace tg::predict
