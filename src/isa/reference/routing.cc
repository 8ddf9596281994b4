#include "isa/reference/routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/assert.h"
#include "isa/reference/scalar.h"

namespace tg::isa {

namespace {

template <typename F>
std::vector<F> softmax(std::span<const F> x) {
  F highest = *std::max_element(x.begin(), x.end());
  F sum = 0;
  std::vector<F> out;
  for (F v : x) out.push_back(std::exp(v - highest));
  for (F v : out) sum += v;
  for (F& v : out) v /= sum;
  return out;
}

// The n largest values' indices, largest first, ties to the lower index.
template <typename F>
std::vector<i32> largest(std::span<const F> values, i64 n) {
  std::vector<i32> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](i32 a, i32 b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(n));
  return order;
}

// softmax_topk chooses by the logits and weighs afterwards.
template <typename F>
std::vector<F> scores_of(RouteScore kind, std::span<const f64> logits) {
  std::vector<F> x(logits.begin(), logits.end());
  switch (kind) {
    case RouteScore::kSoftmax: return softmax<F>(x);
    case RouteScore::kSoftmaxTopk: return x;
    case RouteScore::kSigmoid: break;
    case RouteScore::kSqrtSoftplus: break;
  }
  for (F& v : x) {
    v = kind == RouteScore::kSigmoid ? sigmoid(v)
                                     : std::sqrt(activate(Activation::kSoftplus, v, F(0)));
  }
  return x;
}

template <typename F>
F group_value(GroupScore kind, std::span<const F> group) {
  std::vector<F> sorted(group.begin(), group.end());
  std::sort(sorted.begin(), sorted.end(), [](F a, F b) { return a > b; });
  bool two = kind == GroupScore::kTop2 && sorted.size() > 1;
  return two ? sorted[0] + sorted[1] : sorted[0];
}

// Ids, ascending, of the experts in the best groups.
template <typename F>
std::vector<i32> candidates(const RouteShape& shape, std::span<const F> choice) {
  std::size_t size = choice.size() / static_cast<std::size_t>(shape.groups);
  std::vector<F> values;
  for (std::size_t g = 0; g < static_cast<std::size_t>(shape.groups); ++g)
    values.push_back(group_value(shape.group_score, choice.subspan(g * size, size)));
  i64 kept = shape.groups > 1 ? shape.topk_groups : 1;
  std::vector<i32> ids;
  for (i32 g : largest<F>(values, kept)) {
    for (std::size_t i = 0; i < size; ++i)
      ids.push_back(static_cast<i32>(static_cast<std::size_t>(g) * size + i));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

template <typename F>
bool any_nan(std::span<const F> x) {
  return std::any_of(x.begin(), x.end(), [](F v) { return v != v; });
}

template <typename F>
std::vector<F> weights_of(const RouteShape& shape, std::span<const F> scores) {
  std::vector<F> w(scores.begin(), scores.end());
  if (shape.score == RouteScore::kSoftmaxTopk) w = softmax<F>(scores);
  F sum = 0;
  for (F v : w) sum += v;
  for (F& v : w) {
    if (shape.renorm && sum != F(0)) v /= sum;
    v *= F(shape.scale);
  }
  return w;
}

}  // namespace

template <typename F>
Routed<F> route_row(const RouteShape& shape, std::span<const f64> logits, std::span<const F> bias) {
  TG_ASSERT(static_cast<i64>(logits.size()) % shape.groups == 0);
  std::vector<F> scores = scores_of<F>(shape.score, logits);
  std::vector<F> choice = scores;
  for (std::size_t e = 0; e < bias.size(); ++e) choice[e] += bias[e];
  if (any_nan<F>(choice)) return {};
  std::vector<i32> ids = candidates<F>(shape, choice);
  TG_ASSERT(static_cast<i64>(ids.size()) >= shape.k);
  std::vector<F> values;
  for (i32 id : ids) values.push_back(choice[static_cast<std::size_t>(id)]);
  Routed<F> routed;
  std::vector<F> chosen;
  for (i32 i : largest<F>(values, shape.k)) {
    routed.experts.push_back(ids[static_cast<std::size_t>(i)]);
    chosen.push_back(scores[static_cast<std::size_t>(routed.experts.back())]);
  }
  routed.weights = weights_of<F>(shape, chosen);
  if (any_nan<F>(routed.weights)) return {};
  return routed;
}

template Routed<f32> route_row<f32>(const RouteShape&, std::span<const f64>, std::span<const f32>);
template Routed<f64> route_row<f64>(const RouteShape&, std::span<const f64>, std::span<const f64>);

}  // namespace tg::isa
