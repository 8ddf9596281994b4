// Cut points are drawn at random and the best of a few draws is taken: nothing is sorted.
#include "predict/forest.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/assert.h"

namespace tg::predict {

namespace {

struct Sums {
  f64 weight = 0;
  f64 value = 0;  // weighted
  std::size_t count = 0;

  void add(f64 w, f64 y) {
    weight += w;
    value += w * y;
    ++count;
  }
  // What the split keeps of the weighted squares; larger is better.
  f64 score() const { return weight > 0 ? value * value / weight : 0; }
};

struct Cut {
  i32 feature = -1;
  f64 threshold = 0;
  f64 score = 0;
};

}  // namespace

class Forest::Grower {
 public:
  Grower(const Matrix& x, std::span<const f64> y, std::span<const f64> weights,
         const ForestOptions& options, std::vector<Node>& nodes)
      : x_(x), y_(y), weights_(weights), options_(options), random_(options.seed), nodes_(nodes) {
    rows_.resize(x.rows);
    features_.resize(x.columns);
    std::iota(features_.begin(), features_.end(), 0);
  }

  i32 grow_tree() {
    std::iota(rows_.begin(), rows_.end(), std::size_t{0});
    i32 root = static_cast<i32>(nodes_.size());
    nodes_.emplace_back();
    std::vector<Range> open = {{root, 0, rows_.size()}};
    while (!open.empty()) {
      Range range = open.back();
      open.pop_back();
      grow(range, open);
    }
    return root;
  }

 private:
  struct Range {
    i32 node;
    std::size_t begin;
    std::size_t end;
  };

  f64 at(std::size_t position, i32 feature) const {
    return x_.values[rows_[position] * x_.columns + static_cast<std::size_t>(feature)];
  }

  void grow(const Range& range, std::vector<Range>& open) {
    Sums all;
    for (std::size_t i = range.begin; i < range.end; ++i) all.add(weights_[rows_[i]], y_[rows_[i]]);
    std::size_t node = static_cast<std::size_t>(range.node);
    nodes_[node].value = all.weight > 0 ? all.value / all.weight : 0;
    if (all.count < 2 * options_.leaf_rows_min) return;
    Cut cut = best_cut(range, all);
    if (cut.feature < 0) return;
    std::vector<std::size_t>::iterator first =
        rows_.begin() + static_cast<std::ptrdiff_t>(range.begin);
    std::vector<std::size_t>::iterator last =
        rows_.begin() + static_cast<std::ptrdiff_t>(range.end);
    std::vector<std::size_t>::iterator middle =
        std::partition(first, last, [this, &cut](std::size_t row) {
          return x_.values[row * x_.columns + static_cast<std::size_t>(cut.feature)] <=
                 cut.threshold;
        });
    std::size_t split = static_cast<std::size_t>(middle - rows_.begin());
    i32 below = static_cast<i32>(nodes_.size());
    nodes_[node].feature = cut.feature;
    nodes_[node].threshold = cut.threshold;
    nodes_[node].below = below;
    nodes_.resize(nodes_.size() + 2);
    open.push_back({below, range.begin, split});
    open.push_back({below + 1, split, range.end});
  }

  Cut best_cut(const Range& range, const Sums& all) {
    f64 wanted = std::ceil(options_.feature_share * static_cast<f64>(features_.size()));
    std::size_t tries = std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1,
                                                std::max<std::size_t>(features_.size(), 1));
    Cut best{.score = all.score() * (1 + 1e-12) + 1e-12};
    // A Fisher-Yates shuffle that stops as soon as enough features that vary were tried.
    for (std::size_t i = 0; i < features_.size() && tries > 0; ++i) {
      std::size_t pick = i + static_cast<std::size_t>(random_.below(features_.size() - i));
      std::swap(features_[i], features_[pick]);
      if (try_feature(range, all, features_[i], best)) --tries;
    }
    return best;
  }

  // False if the feature is the same in all rows.
  bool try_feature(const Range& range, const Sums& all, i32 feature, Cut& best) {
    f64 low = at(range.begin, feature), high = low;
    for (std::size_t i = range.begin + 1; i < range.end; ++i) {
      low = std::min(low, at(i, feature));
      high = std::max(high, at(i, feature));
    }
    if (!(low < high)) return false;
    f64 threshold = low + (high - low) * random_.uniform();
    if (threshold >= high) threshold = low;
    Sums below;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      if (at(i, feature) <= threshold) below.add(weights_[rows_[i]], y_[rows_[i]]);
    }
    Sums above{all.weight - below.weight, all.value - below.value, all.count - below.count};
    f64 score = below.score() + above.score();
    bool is_allowed =
        below.count >= options_.leaf_rows_min && above.count >= options_.leaf_rows_min;
    if (is_allowed && score > best.score) best = {feature, threshold, score};
    return true;
  }

  const Matrix& x_;
  std::span<const f64> y_;
  std::span<const f64> weights_;
  const ForestOptions& options_;
  SeededRandom random_;
  std::vector<Node>& nodes_;
  std::vector<std::size_t> rows_;
  std::vector<i32> features_;
};

Forest Forest::fit(const Matrix& x, std::span<const f64> y, std::span<const f64> weights,
                   const ForestOptions& options) {
  TG_ASSERT(y.size() == x.rows && weights.size() == x.rows);
  TG_ASSERT(options.trees > 0 && options.leaf_rows_min > 0);
  Forest out;
  if (x.rows == 0) return out;
  Grower grower(x, y, weights, options, out.nodes_);
  for (int tree = 0; tree < options.trees; ++tree) out.roots_.push_back(grower.grow_tree());
  return out;
}

f64 Forest::predict(std::span<const f64> features) const {
  f64 sum = 0;
  for (i32 root : roots_) {
    std::size_t node = static_cast<std::size_t>(root);
    while (nodes_[node].feature >= 0) {
      TG_ASSERT(static_cast<std::size_t>(nodes_[node].feature) < features.size());
      bool is_below =
          features[static_cast<std::size_t>(nodes_[node].feature)] <= nodes_[node].threshold;
      node = static_cast<std::size_t>(nodes_[node].below) + (is_below ? 0 : 1);
    }
    sum += nodes_[node].value;
  }
  return roots_.empty() ? 0 : sum / static_cast<f64>(roots_.size());
}

}  // namespace tg::predict
