// route, grouped_linear and combine. A perm is kept as the table of chosen experts [A,k].
#include <algorithm>
#include <set>

#include "isa/reference/activation_quant.h"
#include "isa/reference/routing.h"
#include "isa/reference/step.h"

namespace tg::isa {

static RouteShape route_shape(const FlatInstruction& op) {
  return {.score = static_cast<RouteScore>(op.word(AttributeKey::kScore)),
          .k = op.word(AttributeKey::kK),
          .groups = op.word(AttributeKey::kGroups),
          .topk_groups = op.word(AttributeKey::kTopkGroups),
          .group_score = static_cast<GroupScore>(op.word(AttributeKey::kGroupScore)),
          .renorm = op.word(AttributeKey::kRenorm) != 0,
          .scale = op.real(AttributeKey::kScale)};
}

// Experts that have at least one row, ascending.
static std::set<i64> experts_hit(const Tensor& perm) {
  std::set<i64> hit;
  for (f64 expert : perm.data) hit.insert(static_cast<i64>(expert));
  return hit;
}

template <typename F>
Status Step<F>::route(const FlatInstruction& op) {
  const Tensor& logits = in(op, 0);
  RouteShape shape = route_shape(op);
  std::vector<F> bias = op.in.size() > 1 ? table(op.in[1]) : std::vector<F>{};
  Tensor w = make(op.out[0]);
  Tensor perm{.dtype = DType::kI32, .dims = w.dims, .data = {}};
  for (i64 t = 0; t < w.rows(); ++t) {
    Routed<F> routed = route_row<F>(shape, logits.row(t), bias);
    if (routed.experts.empty())
      return trap("the router's logits of token " + std::to_string(t) + " are not finite");
    std::copy(routed.weights.begin(), routed.weights.end(), w.row(t).begin());
    perm.data.insert(perm.data.end(), routed.experts.begin(), routed.experts.end());
  }
  context_.route_hits.push_back(experts_hit(perm).size());
  count(unit::kEw, (4 * logits.columns() + shape.k) * w.dims[0]);
  finish(op.out[0], std::move(w));
  if (op.out.size() > 2) finish(op.out[2], perm);
  values_[op.out[1]] = std::move(perm);
  return {};
}

// Expert by expert; row t*k+j of the result belongs to the expert of rank j of token t. x has a row
// for each of them, or one that all ranks of a token share.
template <typename F>
void Step<F>::grouped_linear(const FlatInstruction& op) {
  Tensor x = in(op, 0);
  const Tensor& perm = in(op, 2);
  Tensor y = make(op.out[0]);
  ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
  for (i64 t = 0; t < x.rows(); ++t) quantize_activations(xq, x.row(t));
  std::vector<F> bias = op.in.size() > 3 ? table(op.in[3]) : std::vector<F>{};
  i64 share = x.rows() == y.rows() ? 1 : perm.columns();
  i64 n = y.columns();
  std::set<i64> hit = experts_hit(perm);
  for (i64 expert : hit) {
    for (i64 column = 0; column < n; ++column) {
      std::vector<f32> w = weight_row(op.in[1], expert * n + column);
      for (i64 row = 0; row < y.rows(); ++row) {
        if (static_cast<i64>(perm.data[static_cast<std::size_t>(row)]) != expert) continue;
        F sum = 0;
        for (std::size_t i = 0; i < w.size(); ++i) sum += F(x.row(row / share)[i]) * F(w[i]);
        if (!bias.empty()) sum += bias[static_cast<std::size_t>(expert * n + column)];
        y.row(row)[static_cast<std::size_t>(column)] = sum;
      }
    }
  }
  const WeightDecl& decl = context_.program.weights[op.in[1].index];
  count(product_class(decl.codec, xq), 2 * y.rows() * n * x.columns());
  if (!bias.empty()) count(unit::kEw, y.rows() * n);
  count(unit::kWBytes, static_cast<i64>(hit.size()) * n * row_bytes(decl.codec, x.columns()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::combine(const FlatInstruction& op) {
  const Tensor& y = in(op, 0);
  const Tensor& w = in(op, 2);
  Tensor out = make(op.out[0]);
  i64 k = w.columns();
  for (i64 t = 0; t < out.rows(); ++t) {
    for (i64 column = 0; column < out.columns(); ++column) {
      std::size_t c = static_cast<std::size_t>(column);
      F sum = 0;
      for (i64 j = 0; j < k; ++j)
        sum += F(w.row(t)[static_cast<std::size_t>(j)]) * F(y.row(t * k + j)[c]);
      out.row(t)[c] = sum;
    }
  }
  count(unit::kEw, 2 * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(out));
}

template Status Step<f32>::route(const FlatInstruction&);
template Status Step<f64>::route(const FlatInstruction&);
template void Step<f32>::grouped_linear(const FlatInstruction&);
template void Step<f64>::grouped_linear(const FlatInstruction&);
template void Step<f32>::combine(const FlatInstruction&);
template void Step<f64>::combine(const FlatInstruction&);

}  // namespace tg::isa
