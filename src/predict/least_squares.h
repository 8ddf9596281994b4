// Non-negative weights of a linear model: few, positive and pulled towards a prior, so that each
// stays the physical quantity it is (a time's share that a device really needs).
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::predict {

// A dense matrix, row by row.
struct Matrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<f64> values;

  std::span<const f64> row(std::size_t i) const {
    return std::span(values).subspan(i * columns, columns);
  }
};

// Minimises sum_i w_i (a_i c - y_i)^2 + sum_j l_j (c_j - prior_j)^2 over c >= 0 by coordinate
// descent on the normal equations, which converges as the problem is convex. REQUIRES: sizes agree,
// weights and pulls are not negative, pulls are positive where a column may be zero.
struct LeastSquares {
  const Matrix& a;
  std::span<const f64> y;
  std::span<const f64> weights;
  std::span<const f64> prior;
  std::span<const f64> pull;
};
std::vector<f64> solve_non_negative(const LeastSquares& problem);

// Weights under which errors count by their ratio to y, and rows far off count less: repeats
// solve_non_negative() with weights made from the last residuals. `pull` is per row of data and
// relative to the column's mean share of y. REQUIRES: y > 0.
struct RobustFit {
  const Matrix& a;
  std::span<const f64> y;
  std::span<const f64> prior;
  std::span<const f64> pull;
};
std::vector<f64> fit_ratios(const RobustFit& problem);

f64 dot(std::span<const f64> a, std::span<const f64> b);

}  // namespace tg::predict
