// Standard tokens of simulated requests: nominal work by the cost matrix of a dense model in 16
// bits with the shape of Llama 3 8B, whatever device serves it.
#pragma once

#include "base/types.h"
#include "unit/cost_matrix.h"

namespace tg::sim {

class StandardWork {
 public:
  StandardWork();
  // REQUIRES: 0 <= cached <= prompt, 0 < output; all below 2^32.
  f64 st(i64 prompt, i64 cached, i64 output) const;
  const unit::CostMatrix& matrix() const { return matrix_; }

 private:
  unit::CostMatrix matrix_;
};

}  // namespace tg::sim
