// add, mul, glu, act, ew, reduce and rope.
#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "isa/reference/scalar.h"
#include "isa/reference/step.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

// add: alpha*a + beta*b. mul: alpha*a*b, or alpha*a. Factors of 1 are not applied and not counted.
template <typename F>
void Step<F>::add_or_mul(const FlatInstruction& op) {
  const Tensor& a = in(op, 0);
  Tensor y = make(op.out[0]);
  bool adds = op.op == Opcode::kAdd;
  F alpha = F(op.real(AttributeKey::kAlpha));
  F beta = adds ? F(op.real(AttributeKey::kBeta)) : F(1);
  std::vector<F> b = op.in.size() > 1 ? table(op.in[1]) : std::vector<F>{};
  for (std::size_t i = 0; i < y.data.size(); ++i) {
    F value = F(a.data[i]);
    if (alpha != F(1)) value *= alpha;
    if (!b.empty()) {
      F other = b[i % b.size()];
      if (beta != F(1)) other *= beta;
      value = adds ? value + other : value * other;
    }
    y.data[i] = value;
  }
  i64 each = !b.empty() + (alpha != F(1)) + (beta != F(1));
  count(unit::kEw, each * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::glu(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  bool packed = op.in.size() == 1;
  GluShape<F> shape{static_cast<Activation>(op.word(AttributeKey::kAct)),
                    F(op.real(AttributeKey::kAlpha)), F(op.real(AttributeKey::kLimit))};
  for (i64 t = 0; t < y.rows(); ++t) {
    for (std::size_t i = 0; i < y.row(t).size(); ++i) {
      std::size_t u = packed ? i + y.row(t).size() : i;
      F gate = F(in(op, 0).row(t)[i]);
      F up = F(in(op, packed ? 0 : 1).row(t)[u]);
      y.row(t)[i] = gated(shape, gate, up);
    }
  }
  count(unit::kEw, 5 * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::act(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  Activation kind = static_cast<Activation>(op.word(AttributeKey::kAct));
  F cap = F(op.real(AttributeKey::kSoftcap));
  for (std::size_t i = 0; i < y.data.size(); ++i) y.data[i] = activate(kind, F(x.data[i]), cap);
  count(unit::kEw, 4 * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::ew(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  const Attribute& code = op.attributes[0];  // The only one, required.
  std::vector<std::vector<F>> operands;
  for (const FlatOperand& operand : op.in) operands.push_back(table(operand));
  std::vector<F> inputs(operands.size());
  for (std::size_t i = 0; i < y.data.size(); ++i) {
    for (std::size_t k = 0; k < inputs.size(); ++k) inputs[k] = operands[k][i % operands[k].size()];
    y.data[i] = run_ew<F>(code.words, inputs);
  }
  Result<EwSummary> summary = check_ew(code.words);
  TG_ASSERT(summary.ok());
  count(unit::kEw, static_cast<i64>(summary->arithmetic) * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
static std::vector<F> softmax(std::span<const f64> x) {
  F highest = F(*std::max_element(x.begin(), x.end()));
  F sum = 0;
  std::vector<F> out;
  for (f64 v : x) out.push_back(std::exp(F(v) - highest));
  for (F v : out) sum += v;
  for (F& v : out) v /= sum;
  return out;
}

template <typename F>
static F reduce_row(Reduction kind, std::span<const f64> x) {
  if (kind == Reduction::kMax) return F(*std::max_element(x.begin(), x.end()));
  if (kind == Reduction::kArgmax)
    return F(std::max_element(x.begin(), x.end()) - x.begin());  // The first: ties to the lowest.
  F sum = 0;
  for (f64 v : x) sum += F(v);
  return kind == Reduction::kMean ? sum / F(x.size()) : sum;
}

template <typename F>
void Step<F>::reduce(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  Reduction kind = static_cast<Reduction>(op.word(AttributeKey::kReduction));
  for (i64 t = 0; t < x.rows(); ++t) {
    if (kind == Reduction::kSoftmax) {
      std::vector<F> row = softmax<F>(x.row(t));
      std::copy(row.begin(), row.end(), y.row(t).begin());
    } else {
      y.data[static_cast<std::size_t>(t)] = reduce_row<F>(kind, x.row(t));
    }
  }
  i64 each = kind == Reduction::kSoftmax ? 5 : 1;
  count(unit::kEw, each * static_cast<i64>(x.data.size()));
  finish(op.out[0], std::move(y));
}

// Which row of pos [n,T] turns each of the `half` frequencies: the i-th section's use row i.
// Without sections all use the first.
static std::vector<std::size_t> position_rows(const FlatInstruction& op, std::size_t half) {
  std::vector<std::size_t> rows;
  if (op.word(AttributeKey::kStyle) == static_cast<u32>(RopeStyle::kMrope)) {
    std::span<const u32> sections = attribute_words(op.op, op.attributes, AttributeKey::kSections);
    for (std::size_t i = 0; i < sections.size(); ++i) rows.insert(rows.end(), sections[i], i);
  }
  rows.resize(half, 0);
  return rows;
}

// The angle is rounded to f32 before its exact sine and cosine, as the models were trained. mrope
// pairs channels as neox does.
template <typename F>
void Step<F>::rope(const FlatInstruction& op) {
  const Tensor& pos = in(op, 1);
  Tensor y = make(op.out[0]);
  y.data = in(op, 0).data;
  std::size_t heads = op.word(AttributeKey::kHeads);
  std::size_t half = op.word(AttributeKey::kRot) / 2;
  std::vector<F> tables = table(op.in[2]);
  std::span<const F> invf =
      std::span<const F>(tables).subspan(op.word(AttributeKey::kTable) * half);
  std::vector<std::size_t> row = position_rows(op, half);
  std::size_t width = static_cast<std::size_t>(y.columns()) / heads;
  bool gptj = op.word(AttributeKey::kStyle) == static_cast<u32>(RopeStyle::kGptj);
  F mscale = F(op.real(AttributeKey::kMscale));
  for (i64 t = 0; t < y.rows(); ++t) {
    for (std::size_t i = 0; i < half; ++i) {
      std::size_t at = row[i] * static_cast<std::size_t>(y.rows()) + static_cast<std::size_t>(t);
      f64 angle = static_cast<f32>(pos.data[at]) * static_cast<f32>(invf[i]);
      F cosine = F(static_cast<f32>(std::cos(angle)));
      F sine = F(static_cast<f32>(std::sin(angle)));
      for (std::size_t h = 0; h < heads; ++h) {
        std::span<f64> head = y.row(t).subspan(h * width + op.word(AttributeKey::kOffset));
        f64& first = head[gptj ? 2 * i : i];
        f64& second = head[gptj ? 2 * i + 1 : i + half];
        F a = F(first);
        F b = F(second);
        first = (a * cosine - b * sine) * mscale;
        second = (b * cosine + a * sine) * mscale;
      }
    }
  }
  count(unit::kEw, 3 * y.rows() * static_cast<i64>(heads * half * 2));
  finish(op.out[0], std::move(y));
}

template void Step<f32>::add_or_mul(const FlatInstruction&);
template void Step<f64>::add_or_mul(const FlatInstruction&);
template void Step<f32>::glu(const FlatInstruction&);
template void Step<f64>::glu(const FlatInstruction&);
template void Step<f32>::act(const FlatInstruction&);
template void Step<f64>::act(const FlatInstruction&);
template void Step<f32>::ew(const FlatInstruction&);
template void Step<f64>::ew(const FlatInstruction&);
template void Step<f32>::reduce(const FlatInstruction&);
template void Step<f64>::reduce(const FlatInstruction&);
template void Step<f32>::rope(const FlatInstruction&);
template void Step<f64>::rope(const FlatInstruction&);

}  // namespace tg::isa
