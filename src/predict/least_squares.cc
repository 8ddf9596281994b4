// Lawson and Hanson's problem, solved by the simpler of the known ways.
#include "predict/least_squares.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::predict {

namespace {

constexpr int kSweepsMax = 3000;
constexpr f64 kConverged = 1e-9;  // change of a sweep, relative to the largest weight
constexpr int kRefits = 6;
constexpr f64 kErrorFloor = 0.05;  // log ratio below which rows count alike

struct Normal {
  std::vector<f64> gram;  // [n,n]
  std::vector<f64> right;
};

Normal normal_equations(const LeastSquares& p) {
  std::size_t n = p.a.columns;
  Normal out{std::vector<f64>(n * n, 0), std::vector<f64>(n, 0)};
  for (std::size_t i = 0; i < p.a.rows; ++i) {
    std::span<const f64> row = p.a.row(i);
    for (std::size_t j = 0; j < n; ++j) {
      f64 weighted = p.weights[i] * row[j];
      if (weighted == 0) continue;
      out.right[j] += weighted * p.y[i];
      for (std::size_t k = j; k < n; ++k) out.gram[j * n + k] += weighted * row[k];
    }
  }
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k) out.gram[j * n + k] = out.gram[k * n + j];
    out.gram[j * n + j] += p.pull[j];
    out.right[j] += p.pull[j] * p.prior[j];
  }
  return out;
}

// One sweep; the largest change.
f64 sweep(const Normal& normal, std::vector<f64>& c) {
  std::size_t n = c.size();
  f64 change = 0;
  for (std::size_t j = 0; j < n; ++j) {
    std::span<const f64> row = std::span(normal.gram).subspan(j * n, n);
    if (row[j] <= 0) continue;
    f64 next = std::max(0.0, c[j] + (normal.right[j] - dot(row, c)) / row[j]);
    change = std::max(change, std::abs(next - c[j]));
    c[j] = next;
  }
  return change;
}

}  // namespace

f64 dot(std::span<const f64> a, std::span<const f64> b) {
  TG_ASSERT(a.size() == b.size());
  f64 sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<f64> solve_non_negative(const LeastSquares& p) {
  TG_ASSERT(p.y.size() == p.a.rows && p.weights.size() == p.a.rows);
  TG_ASSERT(p.prior.size() == p.a.columns && p.pull.size() == p.a.columns);
  Normal normal = normal_equations(p);
  std::vector<f64> c(p.prior.begin(), p.prior.end());
  for (int i = 0; i < kSweepsMax; ++i) {
    f64 change = sweep(normal, c);
    f64 largest = *std::max_element(c.begin(), c.end());
    if (change <= kConverged * std::max(largest, 1.0)) break;
  }
  return c;
}

std::vector<f64> fit_ratios(const RobustFit& p) {
  std::size_t rows = p.a.rows, columns = p.a.columns;
  if (columns == 0) return {};
  std::vector<f64> weights(rows), pull(columns, 0);
  for (std::size_t i = 0; i < rows; ++i) {
    TG_ASSERT(p.y[i] > 0);
    weights[i] = 1 / (p.y[i] * p.y[i]);
    for (std::size_t j = 0; j < columns; ++j) pull[j] += p.a.row(i)[j] / p.y[i];
  }
  constexpr f64 kPullFloor = 1e-6;
  for (std::size_t j = 0; j < columns; ++j) {
    f64 share = pull[j] / static_cast<f64>(std::max<std::size_t>(rows, 1));
    f64 strength = p.pull[j] * std::max(share, kPullFloor);
    pull[j] = static_cast<f64>(rows) * strength * strength + kPullFloor;
  }
  std::vector<f64> c;
  for (int refit = 0; refit < kRefits; ++refit) {
    c = solve_non_negative({p.a, p.y, weights, p.prior, pull});
    for (std::size_t i = 0; i < rows; ++i) {
      f64 predicted = std::max(dot(p.a.row(i), c), 1e-12);
      f64 error = std::max(std::abs(std::log(predicted / p.y[i])), kErrorFloor);
      // Half way between errors relative to the measurement and to the prediction.
      weights[i] = 0.09 / (p.y[i] * std::max(predicted, 0.3 * p.y[i]) * error);
    }
  }
  return c;
}

}  // namespace tg::predict
