// What the weighted nominal times leave unexplained (log ratios), as a Gaussian process: cases that
// are alike err alike, and how much says covariance(). One mechanism for a new device (its models
// measured elsewhere), a new model (others in like situations) and a few rows of the new one, which
// count for as much as they are surer than what was known. Far from all rows it says 0.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "predict/case.h"

namespace tg::predict {

// What of a case the process compares: places on scales, and names as hashes.
struct Traits {
  std::array<f64, kSituationFeatures> place{};
  std::array<f64, kShareFeatures> shares{};
  f64 bandwidth = 0;  // logarithm
  i64 generation = 0;
  u64 model = 0;
  u64 system = 0;
  u64 engine = 0;
  u64 version = 0;  // of that engine
  u64 format = 0;
  bool is_pool = false;
  bool is_draft_likely = false;
  Campaign campaign = Campaign::kDump;
};
Traits traits_of(const Case& c);

// Prior covariance of the log ratios of two cases.
f64 covariance(const Traits& a, const Traits& b);

class ResidualProcess {
 public:
  // Of more than `rows_max` cases, so many evenly taken; time grows with their cube. A row that is
  // far off counts less. REQUIRES: sizes agree, rows_max > 0.
  static ResidualProcess fit(std::span<const Case* const> cases, std::span<const f64> residuals,
                             std::size_t rows_max);

  // The mean of the log ratio; 0 before a fit.
  f64 predict(const Case& c) const;

 private:
  std::vector<Traits> rows_;
  std::vector<f64> weights_;
};

// Solves a x = y for a symmetric positive definite a of y.size() rows, of which the lower half is
// read; both are overwritten, y with x.
void solve_positive(std::vector<f64>& a, std::vector<f64>& y);

}  // namespace tg::predict
