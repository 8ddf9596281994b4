// index: the keys that sparse attention will look at.
#include <algorithm>
#include <numeric>

#include "isa/reference/step.h"

namespace tg::isa {

// The k largest scores' positions, ascending; ties to the lower position.
template <typename F>
static std::vector<i64> best_keys(std::span<const F> scores, std::size_t k) {
  std::vector<i64> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](i64 a, i64 b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  order.resize(std::min(order.size(), k));
  std::sort(order.begin(), order.end());
  return order;
}

// Sum over heads, in order, of wi * relu(q.k).
template <typename F>
static F index_score(std::span<const f64> q, std::span<const f64> weights,
                     std::span<const f32> key) {
  F score = 0;
  for (std::size_t h = 0; h < weights.size(); ++h) {
    F product = 0;
    for (std::size_t i = 0; i < key.size(); ++i) product += F(q[h * key.size() + i]) * F(key[i]);
    score += F(weights[h]) * (product > F(0) ? product : F(0));
  }
  return score;
}

template <typename F>
Status Step<F>::index(const FlatInstruction& op) {
  const ReferenceKv& kv = context_.kv[op.in[1].index];
  const KvDecl& d = kv.decl();
  i64 heads = op.word(AttributeKey::kHeads);
  Tensor y = make(op.out[0]);
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    i64 cached = context_.batch.past[static_cast<std::size_t>(s)];
    for (i64 i = 0; i < rows.count; ++i) {
      i64 t = rows.first + i;
      std::vector<F> scores;
      for (i64 key = 0; key <= cached + i; ++key) {
        std::span<const f32> k = kv.key(op.in[1].layer, slot_of(kv, s, key));
        scores.push_back(index_score<F>(in(op, 0).row(t), in(op, 2).row(t), k));
        if (scores.back() != scores.back())
          return trap("the score of key " + std::to_string(key) + " is not a number");
      }
      std::vector<i64> best = best_keys<F>(scores, op.word(AttributeKey::kK));
      std::fill(y.row(t).begin(), y.row(t).end(), -1.0);
      std::copy(best.begin(), best.end(), y.row(t).begin());
      count(unit::kAttn, 2 * heads * d.dk * (cached + i + 1));
      count(unit::kEw, 3 * heads * (cached + i + 1));
    }
    if (rows.count > 0) count(unit::kKvRd, (cached + rows.count) * row_bytes(d.format, d.dk));
  }
  finish(op.out[0], std::move(y));
  return {};
}

template Status Step<f32>::index(const FlatInstruction&);
template Status Step<f64>::index(const FlatInstruction&);

}  // namespace tg::isa
