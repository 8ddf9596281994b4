// attn_dense and pool: whole sequences within a step, nothing cached.
#include <algorithm>
#include <cmath>

#include "isa/reference/step.h"

namespace tg::isa {

namespace {

// First and last row, in the sequence, that row i of n sees.
struct Seen {
  i64 first = 0;
  i64 last = 0;
};

// causal: up to itself, or the last `window` of them, itself included. full: all, or those less
// than `window` away.
Seen rows_seen(Mask mask, i64 window, i64 i, i64 n) {
  i64 reach = window == 0 ? n : window - 1;
  return {.first = std::max<i64>(0, i - reach),
          .last = mask == Mask::kFull ? std::min(n - 1, i + reach) : i};
}

}  // namespace

// A sequence's rows must all be in the step: with T rows, one that has cached keys traps.
template <typename F>
Status Step<F>::attn_dense(const FlatInstruction& op) {
  const Tensor& k = in(op, 1);
  const Tensor& v = in(op, 2);
  Tensor y = make(op.out[0]);
  std::size_t heads = op.word(AttributeKey::kHeads);
  std::size_t group = heads / op.word(AttributeKey::kKvHeads);
  std::size_t dk = static_cast<std::size_t>(in(op, 0).columns()) / heads;
  std::size_t dv = static_cast<std::size_t>(y.columns()) / heads;
  Mask mask = static_cast<Mask>(op.word(AttributeKey::kMask));
  i64 window = op.word(AttributeKey::kWindow);
  HeadShape<F> shape{.scale = F(op.real(AttributeKey::kScale)),
                     .cap = F(op.real(AttributeKey::kSoftcap))};
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    i64 cached = context_.batch.past[static_cast<std::size_t>(s)];
    if (row_dim(op).s == 0 && rows.count > 0 && cached > 0)
      return trap("attn_dense sees no cache, sequence " + std::to_string(s) + " has " +
                  std::to_string(cached) + " cached keys");
    for (i64 i = 0; i < rows.count; ++i) {
      Seen seen = rows_seen(mask, window, i, rows.count);
      for (std::size_t h = 0; h < heads; ++h) {
        HeadKeys<f64> keys;
        for (i64 j = seen.first; j <= seen.last; ++j) {
          keys.keys.push_back(k.row(rows.first + j).subspan(h / group * dk, dk));
          keys.values.push_back(v.row(rows.first + j).subspan(h / group * dv, dv));
        }
        attend_head<F, f64>(shape, in(op, 0).row(rows.first + i).subspan(h * dk, dk), keys,
                            y.row(rows.first + i).subspan(h * dv, dv));
      }
      i64 pairs = static_cast<i64>(heads) * (seen.last - seen.first + 1);
      count(unit::kAttn, 2 * static_cast<i64>(dk + dv) * pairs);
      count(unit::kEw, 5 * pairs);
    }
  }
  finish(op.out[0], std::move(y));
  return {};
}

// The sum or the largest of a sequence's rows, in their order.
template <typename F>
static F pool_column(Pooling kind, const Tensor& x, const RowRange& rows, std::size_t column) {
  F value = F(x.row(rows.first)[column]);
  for (i64 t = rows.first + 1; t < rows.first + rows.count; ++t) {
    F next = F(x.row(t)[column]);
    value = kind == Pooling::kMax ? std::max(value, next) : value + next;
  }
  return kind == Pooling::kMean ? value / F(rows.count) : value;
}

template <typename F>
static void normalise(std::span<f64> row) {
  F squares = 0;
  for (f64 v : row) squares += F(v) * F(v);
  if (squares == F(0)) return;
  F norm = std::sqrt(squares);
  for (f64& v : row) v = F(v) / norm;
}

// Over the step's rows of each sequence.
template <typename F>
void Step<F>::pool(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  Pooling kind = static_cast<Pooling>(op.word(AttributeKey::kPooling));
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    if (rows.count == 0) continue;
    if (kind == Pooling::kLast) rows = {.first = rows.first + rows.count - 1, .count = 1};
    if (kind == Pooling::kCls) rows.count = 1;
    for (std::size_t c = 0; c < y.row(s).size(); ++c)
      y.row(s)[c] = pool_column<F>(kind, x, rows, c);
    if (op.word(AttributeKey::kNorm) != 0) normalise<F>(y.row(s));
  }
  count(unit::kEw, 2 * static_cast<i64>(x.data.size()));
  finish(op.out[0], std::move(y));
}

template Status Step<f32>::attn_dense(const FlatInstruction&);
template Status Step<f64>::attn_dense(const FlatInstruction&);
template void Step<f32>::pool(const FlatInstruction&);
template void Step<f64>::pool(const FlatInstruction&);

}  // namespace tg::isa
