#include "backend/cpu/moe_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "backend/cpu/kernels/args.h"
#include "base/assert.h"

namespace tg::backend::cpu {

namespace {

// What is out of the choice: greater than nothing, and nothing is greater than it.
constexpr f64 kOut = std::numeric_limits<f64>::quiet_NaN();

// The first of the largest values that are still in; -1 if none is.
i64 best_of(std::span<const f64> values) {
  i64 best = -1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    if (best < 0 || values[i] > values[static_cast<std::size_t>(best)]) best = static_cast<i64>(i);
  }
  return best;
}

void softmax(std::span<f64> x) {
  f64 top = *std::max_element(x.begin(), x.end());
  f64 sum = 0;
  for (f64& v : x) sum += v = std::exp(v - top);
  for (f64& v : x) v /= sum;
}

void score(isa::RouteScore kind, std::span<f64> x) {
  switch (kind) {
    case isa::RouteScore::kSoftmax: return softmax(x);
    case isa::RouteScore::kSoftmaxTopk: return;
    case isa::RouteScore::kSigmoid:
      for (f64& v : x) v = 1.0 / (1.0 + std::exp(-v));
      return;
    case isa::RouteScore::kSqrtSoftplus:
      for (f64& v : x) v = std::sqrt(v > 20.0 ? v : std::log1p(std::exp(v)));
      return;
  }
}

f64 group_value(isa::GroupScore kind, std::span<const f64> group) {
  f64 first = -std::numeric_limits<f64>::infinity();
  f64 second = first;
  for (f64 v : group) {
    if (v > first) {
      second = first;
      first = v;
    } else if (v > second) {
      second = v;
    }
  }
  return kind == isa::GroupScore::kTop2 && group.size() > 1 ? first + second : first;
}

// Takes the experts of all but the best groups out of the choice.
void keep_groups(const OpAttributes& a, std::span<f64> choice, std::span<f64> values) {
  std::size_t size = choice.size() / a.groups;
  for (std::size_t g = 0; g < a.groups; ++g) {
    values[g] = group_value(a.group_score, choice.subspan(g * size, size));
  }
  for (u32 i = 0; i < a.topk_groups; ++i) {
    i64 best = best_of(values.first(a.groups));
    if (best >= 0) values[static_cast<std::size_t>(best)] = kOut;  // kept
  }
  for (std::size_t g = 0; g < a.groups; ++g) {
    if (std::isnan(values[g])) continue;
    std::fill_n(choice.begin() + static_cast<i64>(g * size), size, kOut);
  }
}

// The chosen experts' scores become their weights.
void weigh(const OpAttributes& a, std::span<f64> chosen) {
  if (a.score == isa::RouteScore::kSoftmaxTopk) softmax(chosen);
  f64 sum = 0;
  for (f64 v : chosen) sum += v;
  for (f64& v : chosen) {
    if (a.renorm != 0 && sum != 0) v /= sum;
    v *= a.scale;
  }
}

void route_token(const RouteArgs& a, i64 t, std::span<f64> scores, std::span<f64> choice,
                 std::span<f64> spare) {
  const OpAttributes& op = a.attributes;
  i64 experts = static_cast<i64>(scores.size());
  std::copy_n(a.logits.data + t * experts, experts, scores.begin());
  score(op.score, scores);
  bool is_finite = true;
  for (std::size_t e = 0; e < scores.size(); ++e) {
    choice[e] = scores[e] + (a.bias ? a.bias[e] : 0.0f);
    is_finite = is_finite && !std::isnan(choice[e]);
  }
  if (is_finite && op.groups > 1) keep_groups(op, choice, spare);
  std::span<f64> chosen = spare.first(op.k);
  for (u32 j = 0; j < op.k; ++j) {
    i64 best = is_finite ? best_of(choice) : -1;
    std::size_t expert = static_cast<std::size_t>(best < 0 ? j : best);
    a.experts[t * op.k + j] = static_cast<i32>(expert);
    chosen[j] = best < 0 ? kOut : scores[expert];
    choice[expert] = kOut;
  }
  weigh(op, chosen);
  for (u32 j = 0; j < op.k; ++j) a.weights[t * op.k + j] = static_cast<f32>(chosen[j]);
}

}  // namespace

void route(const RouteArgs& a, i32 part, i32 parts) {
  std::size_t experts = static_cast<std::size_t>(a.logits.cols());
  f64* scratch = a.scratch + part * route_scratch(a.logits.cols());
  Share tokens = share_of(a.logits.rows(), part, parts);
  i64 k = a.attributes.k;
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    route_token(a, t, {scratch, experts}, {scratch + experts, experts},
                {scratch + 2 * experts, experts});
    if (a.ids) std::copy_n(a.experts + t * k, k, a.ids + t * k);
  }
}

void order_rows(const OrderArgs& a, i32, i32 parts) {
  TG_ASSERT(parts == 1);
  i32* begin = a.perm + a.layout.begin();
  i32* cursor = a.perm + a.layout.cursor();
  std::fill_n(begin, a.layout.experts + 1, 0);
  for (i64 row = 0; row < a.layout.rows; ++row) ++begin[a.perm[row] + 1];
  u32 hit = 0;
  for (i64 e = 0; e < a.layout.experts; ++e) {
    hit += begin[e + 1] > 0;
    begin[e + 1] += begin[e];
    cursor[e] = begin[e];
  }
  for (i64 row = 0; row < a.layout.rows; ++row) {
    a.perm[a.layout.order() + cursor[a.perm[row]]++] = static_cast<i32>(row);
  }
  *a.hits = hit;
}

void combine(const CombineArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.out.rows(), part, parts);
  i64 n = a.out.cols();
  i64 k = a.w.cols();
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    f32* to = a.out.data + t * n;
    std::fill_n(to, n, 0.0f);
    for (i64 j = 0; j < k; ++j) {
      f32 weight = a.w.data[t * k + j];
      const f32* from = a.y.data + (t * k + j) * n;
      for (i64 i = 0; i < n; ++i) to[i] += weight * from[i];
    }
  }
}

}  // namespace tg::backend::cpu
