// Attention of one query of one head over the keys it sees, in their order: what attn and
// attn_dense share.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "base/types.h"

namespace tg::isa {

template <typename F>
struct HeadShape {
  F scale = 1;
  F cap = 0;  // of softcap; 0: none
  std::optional<F> sink;
};

// Keys and values of one head, of as many keys as are seen.
template <typename K>
struct HeadKeys {
  std::vector<std::span<const K>> keys;
  std::vector<std::span<const K>> values;
};

// Max-subtracted softmax over the keys' scores and the sink, then the weighted values. A sink takes
// its share of the sum and gives no value. A query that sees no key gets zeros.
template <typename F, typename K>
void attend_head(const HeadShape<F>& shape, std::span<const f64> q, const HeadKeys<K>& seen,
                 std::span<f64> out) {
  std::fill(out.begin(), out.end(), 0.0);
  if (seen.keys.empty()) return;
  std::vector<F> scores;
  for (std::span<const K> k : seen.keys) {
    F score = 0;
    for (std::size_t i = 0; i < q.size(); ++i) score += F(q[i]) * F(k[i]);
    score *= shape.scale;
    scores.push_back(shape.cap > F(0) ? shape.cap * std::tanh(score / shape.cap) : score);
  }
  F highest = *std::max_element(scores.begin(), scores.end());
  if (shape.sink) highest = std::max(*shape.sink, highest);
  F sum = shape.sink ? std::exp(*shape.sink - highest) : F(0);
  std::vector<F> mixed(out.size(), F(0));
  for (std::size_t key = 0; key < scores.size(); ++key) {
    F weight = std::exp(scores[key] - highest);
    sum += weight;
    for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += weight * F(seen.values[key][i]);
  }
  for (std::size_t i = 0; i < mixed.size(); ++i) out[i] = mixed[i] / sum;
}

}  // namespace tg::isa
