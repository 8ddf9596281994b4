// linear, bmm and the norms: sums of products in the naive order.
#include <cmath>
#include <type_traits>

#include "isa/codec.h"
#include "isa/reference/activation_quant.h"
#include "isa/reference/step.h"

namespace tg::isa {

template <typename F, typename A, typename B>
static F dot(std::span<const A> a, std::span<const B> b) {
  F sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += F(a[k]) * F(b[k]);
  return sum;
}

unit::Counter product_class(DType weight, ActivationQuant xq) {
  if (xq == ActivationQuant::kMxfp4) return unit::kMm4Bit;
  if (xq == ActivationQuant::kFp8Block128) return unit::kMmFp8;
  if (xq == ActivationQuant::kInt8Block32 || xq == ActivationQuant::kInt8Token) {
    return unit::kMmInt8;
  }
  return weight == DType::kF32 ? unit::kMmF32 : unit::kMmF16;
}

template <typename F>
void Step<F>::linear(const FlatInstruction& op) {
  Tensor x = in(op, 0);
  Tensor y = make(op.out[0]);
  ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
  for (i64 t = 0; t < x.rows(); ++t) quantize_activations(xq, x.row(t));
  std::vector<F> bias = op.in.size() > 2 ? table(op.in[2]) : std::vector<F>{};
  for (i64 n = 0; n < y.columns(); ++n) {
    std::vector<f32> w = weight_row(op.in[1], n);
    for (i64 t = 0; t < y.rows(); ++t) {
      F sum = dot<F, f64, f32>(x.row(t), w);
      if (!bias.empty()) sum += bias[static_cast<std::size_t>(n)];
      y.row(t)[static_cast<std::size_t>(n)] = sum;
    }
  }
  DType codec = context_.program.weights[op.in[1].index].codec;
  count(product_class(codec, xq), 2 * y.rows() * y.columns() * x.columns());
  if (!bias.empty()) count(unit::kEw, y.rows() * y.columns());
  // A pass that reads no row of it does not read the weight.
  if (y.rows() > 0) count(unit::kWBytes, static_cast<i64>(weight_bytes(op.in[1]).size()));
  finish(op.out[0], std::move(y));
}

// Two activations, group by group.
template <typename F>
void Step<F>::bmm(const FlatInstruction& op) {
  if (op.in[1].kind == OperandKind::kWeight) return bmm_weight(op);
  const Tensor& a = in(op, 0);
  Tensor y = make(op.out[0]);
  std::vector<F> b = table(op.in[1]);
  i64 m = y.dims[1];
  i64 n = y.dims[2];
  std::size_t k = static_cast<std::size_t>(a.columns());
  for (i64 row = 0; row < y.rows(); ++row) {
    i64 group = row / m;
    for (i64 column = 0; column < n; ++column) {
      std::size_t start = static_cast<std::size_t>(group * n + column) * k;
      std::span<const F> b_row(b.data() + start, k);
      y.row(row)[static_cast<std::size_t>(column)] = dot<F, f64, F>(a.row(row), b_row);
    }
  }
  count(product_class(in(op, 1).dtype, ActivationQuant::kNone), 2 * y.rows() * n * a.columns());
  finish(op.out[0], std::move(y));
}

// y[t,g] = w[g] a[t,g], or w[g] transposed; a with one group serves all of them.
template <typename F>
void Step<F>::bmm_weight(const FlatInstruction& op) {
  const Tensor& a = in(op, 0);
  Tensor y = make(op.out[0]);
  bool transposed = op.word(AttributeKey::kTrans) != 0;
  std::vector<F> w = table(op.in[1]);
  i64 tokens = y.dims[0];
  i64 groups = y.dims[1];
  i64 n = y.dims[2];
  i64 k = a.dims[2];
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 g = 0; g < groups; ++g) {
      std::span<const f64> from = a.row(t * a.dims[1] + (a.dims[1] == 1 ? 0 : g));
      for (i64 i = 0; i < n; ++i) {
        F sum = 0;
        for (i64 j = 0; j < k; ++j) {
          i64 at = g * n * k + (transposed ? j * n + i : i * k + j);
          sum += F(from[static_cast<std::size_t>(j)]) * w[static_cast<std::size_t>(at)];
        }
        y.row(t * groups + g)[static_cast<std::size_t>(i)] = sum;
      }
    }
  }
  DType codec = context_.program.weights[op.in[1].index].codec;
  count(product_class(codec, ActivationQuant::kNone), 2 * tokens * groups * n * k);
  if (tokens > 0) count(unit::kWBytes, static_cast<i64>(weight_bytes(op.in[1]).size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::rmsnorm(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  std::vector<F> w = op.in.size() > 1 ? table(op.in[1]) : std::vector<F>{};
  F eps = F(op.real(AttributeKey::kEps));
  F offset = F(op.real(AttributeKey::kWoff));
  i64 group = op.word(AttributeKey::kGroup) > 0 ? op.word(AttributeKey::kGroup) : x.columns();
  bool cast_first = op.word(AttributeKey::kCastAt) == static_cast<u32>(NormCast::kBeforeWeight);
  for (i64 t = 0; t < x.rows(); ++t) {
    for (i64 start = 0; start < x.columns(); start += group) {
      std::span<const f64> part =
          x.row(t).subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(group));
      F scale = F(1) / std::sqrt(dot<F, f64, f64>(part, part) / F(group) + eps);
      for (i64 i = 0; i < group; ++i) {
        std::size_t column = static_cast<std::size_t>(start + i);
        F value = F(part[static_cast<std::size_t>(i)]) * scale;
        if (cast_first && std::is_same_v<F, f32>)
          value = F(round_to(y.dtype, static_cast<f32>(value)));
        if (!w.empty()) value *= w[column % w.size()] + offset;
        y.row(t)[column] = value;
      }
    }
  }
  count(unit::kEw, 4 * static_cast<i64>(x.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::layernorm(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  std::vector<F> w = op.in.size() > 1 ? table(op.in[1]) : std::vector<F>{};
  std::vector<F> b = op.in.size() > 2 ? table(op.in[2]) : std::vector<F>{};
  F eps = F(op.real(AttributeKey::kEps));
  F width = F(x.columns());
  for (i64 t = 0; t < x.rows(); ++t) {
    F sum = 0;
    for (f64 v : x.row(t)) sum += F(v);
    F mean = sum / width;
    F squares = 0;
    for (f64 v : x.row(t)) squares += (F(v) - mean) * (F(v) - mean);
    F scale = F(1) / std::sqrt(squares / width + eps);
    for (std::size_t i = 0; i < y.row(t).size(); ++i) {
      F value = (F(x.row(t)[i]) - mean) * scale;
      if (!w.empty()) value *= w[i];
      if (!b.empty()) value += b[i];
      y.row(t)[i] = value;
    }
  }
  count(unit::kEw, 7 * static_cast<i64>(x.data.size()));
  finish(op.out[0], std::move(y));
}

template void Step<f32>::linear(const FlatInstruction&);
template void Step<f64>::linear(const FlatInstruction&);
template void Step<f32>::bmm(const FlatInstruction&);
template void Step<f64>::bmm(const FlatInstruction&);
template void Step<f32>::bmm_weight(const FlatInstruction&);
template void Step<f64>::bmm_weight(const FlatInstruction&);
template void Step<f32>::rmsnorm(const FlatInstruction&);
template void Step<f64>::rmsnorm(const FlatInstruction&);
template void Step<f32>::layernorm(const FlatInstruction&);
template void Step<f64>::layernorm(const FlatInstruction&);

}  // namespace tg::isa
