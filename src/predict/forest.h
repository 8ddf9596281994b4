// A forest of extremely randomised regression trees (Geurts, Ernst, Wehenkel 2006): small, quick to
// fit, deterministic for a seed, and never beyond the range of what it was shown.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"
#include "env/random.h"
#include "predict/least_squares.h"

namespace tg::predict {

struct ForestOptions {
  int trees = 60;
  std::size_t leaf_rows_min = 2;
  f64 feature_share = 0.6;  // of the features, tried at a split
  u64 seed = 1;
};

class Forest {
 public:
  // Predicts 0 until fitted, and if there are no rows. REQUIRES: y and weights have x.rows values,
  // weights are positive, trees > 0, leaf_rows_min > 0.
  static Forest fit(const Matrix& x, std::span<const f64> y, std::span<const f64> weights,
                    const ForestOptions& options);
  Forest() = default;

  // REQUIRES: as many features as fitted with.
  f64 predict(std::span<const f64> features) const;

 private:
  struct Node {
    i32 feature = -1;  // -1: a leaf
    f64 threshold = 0;
    i32 below = 0;  // child of features <= threshold; the other one follows it
    f64 value = 0;
  };
  class Grower;

  std::vector<Node> nodes_;
  std::vector<i32> roots_;
};

}  // namespace tg::predict
