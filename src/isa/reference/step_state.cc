// conv_state and scan: what a sequence carries from step to step in a block of fixed size.
//
// A sequence with nothing cached starts from zeros, whatever its slot holds. Within a step the
// state is kept in the arithmetic's own type; it is rounded to its format when the step ends. So
// with f32 states and f32 arithmetic the cut of a prompt into steps changes no bit.
#include <cmath>
#include <utility>

#include "isa/reference/step.h"

namespace tg::isa {

template <typename F>
i64 Step<F>::state_slot(i64 sequence) const {
  const ReferenceBatch& b = context_.batch;
  return b.states.empty() ? sequence : b.states[static_cast<std::size_t>(sequence)];
}

template <typename F>
std::vector<f64> Step<F>::state_of(const FlatOperand& state, i64 sequence) const {
  std::span<const f32> block =
      std::as_const(context_.states[state.index]).block(state.layer, state_slot(sequence));
  if (context_.batch.past[static_cast<std::size_t>(sequence)] == 0)
    return std::vector<f64>(block.size(), 0.0);
  return std::vector<f64>(block.begin(), block.end());
}

// Read and written once for each sequence of the step.
template <typename F>
void Step<F>::count_state(const KvDecl& d) {
  count(unit::kState, 2 * sequences() * d.heads * d.dk * row_bytes(d.format, d.dv));
}

// The inputs of a channel in order: those the state remembers, oldest first, then the step's.
// y = sum over j of w[j] * inputs[t+j], then the bias.
template <typename F>
void Step<F>::conv_state(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  const FlatOperand& state = op.in[2];
  const KvDecl& d = context_.states[state.index].decl();
  std::vector<F> w = table(op.in[1]);
  std::vector<F> bias = op.in.size() > 4 ? table(op.in[4]) : std::vector<F>{};
  std::size_t before = d.dv;
  Tensor y = make(op.out[0]);
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    if (rows.count == 0) continue;
    std::vector<f64> remembered = state_of(state, s);
    for (std::size_t c = 0; c < d.dk; ++c) {
      std::span<f64> old = std::span<f64>(remembered).subspan(c * before, before);
      std::vector<f64> inputs(old.begin(), old.end());
      for (i64 t = 0; t < rows.count; ++t) inputs.push_back(x.row(rows.first + t)[c]);
      for (i64 t = 0; t < rows.count; ++t) {
        F sum = 0;
        for (std::size_t j = 0; j <= before; ++j)
          sum += w[c * (before + 1) + j] * F(inputs[static_cast<std::size_t>(t) + j]);
        y.row(rows.first + t)[c] = bias.empty() ? sum : sum + bias[c];
      }
      std::copy(inputs.end() - static_cast<i64>(before), inputs.end(), old.begin());
    }
    context_.states[state.index].write(state.layer, state_slot(s), remembered);
  }
  count(unit::kEw, 2 * x.rows() * x.columns() * static_cast<i64>(before + 1));
  if (!bias.empty()) count(unit::kEw, x.rows() * x.columns());
  count_state(d);
  finish(op.out[0], std::move(y));
}

namespace {

// One head's state and one token's operands. `g`, `beta` and `b` have one element where the rule
// has one per head, else dk.
template <typename F>
struct ScanToken {
  std::span<const f64> q, k, v, g, beta, b;
};

template <typename F>
F entry(std::span<const f64> per_row, std::size_t i) {
  return F(per_row[per_row.size() == 1 ? 0 : i]);
}

// sum over i of x[i] * state[i][column]
template <typename F>
F column_dot(std::span<const F> state, std::span<const f64> x, std::size_t column) {
  std::size_t dv = state.size() / x.size();
  F sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += F(x[i]) * state[i * dv + column];
  return sum;
}

// One token: the state's update by rule, then y = S'q. Columns of the state never meet.
template <typename F>
void scan_token(ScanRule rule, const ScanToken<F>& token, std::span<F> state, std::span<f64> y) {
  std::size_t dv = y.size();
  std::size_t dk = token.q.size();
  bool delta = rule == ScanRule::kGdn || rule == ScanRule::kKda;
  for (std::size_t c = 0; c < dv; ++c) {
    F v = F(token.v[c]);
    F removed = rule == ScanRule::kRwkv7 ? column_dot<F>(state, token.beta, c) : F(0);
    for (std::size_t i = 0; i < dk; ++i) state[i * dv + c] *= std::exp(entry<F>(token.g, i));
    if (delta) v = F(token.beta[0]) * (v - column_dot<F>(state, token.k, c));
    if (rule == ScanRule::kMamba2) v *= F(token.beta[0]);
    for (std::size_t i = 0; i < dk; ++i) {
      F& cell = state[i * dv + c];
      if (rule == ScanRule::kRwkv7) cell += F(token.b[i]) * removed;
      cell += F(token.k[i]) * v;
    }
    y[c] = column_dot<F>(state, token.q, c);
  }
}

// FLOP for each token, head, row and column.
i64 scan_flops(ScanRule rule) {
  switch (rule) {
    case ScanRule::kGdn: return 8;
    case ScanRule::kKda: return 8;
    case ScanRule::kGla: return 5;
    case ScanRule::kMamba2: return 6;
    case ScanRule::kRwkv7: return 9;
  }
  return 0;
}

}  // namespace

template <typename F>
void Step<F>::scan(const FlatInstruction& op) {
  const FlatOperand& state = op.in[4];
  const KvDecl& d = context_.states[state.index].decl();
  ScanRule rule = static_cast<ScanRule>(op.word(AttributeKey::kRule));
  Tensor y = make(op.out[0]);
  // The head's part of operand i's row; empty if the rule does not have the operand.
  auto part = [&](std::size_t i, i64 t, std::size_t h) {
    if (i >= op.in.size()) return std::span<const f64>{};
    std::size_t width = static_cast<std::size_t>(in(op, i).columns()) / d.heads;
    return in(op, i).row(t).subspan(h * width, width);
  };
  for (i64 s = 0; s < sequences(); ++s) {
    RowRange rows = rows_of(row_dim(op), s);
    if (rows.count == 0) continue;
    std::vector<f64> block = state_of(state, s);
    std::vector<F> cells(block.begin(), block.end());
    std::size_t size = std::size_t{d.dk} * d.dv;
    for (std::size_t h = 0; h < d.heads; ++h) {
      for (i64 t = rows.first; t < rows.first + rows.count; ++t) {
        ScanToken<F> token{part(0, t, h), part(1, t, h), part(2, t, h),
                           part(3, t, h), part(6, t, h), part(7, t, h)};
        scan_token<F>(rule, token, std::span<F>(cells).subspan(h * size, size),
                      y.row(t).subspan(h * d.dv, d.dv));
      }
    }
    block.assign(cells.begin(), cells.end());
    context_.states[state.index].write(state.layer, state_slot(s), block);
  }
  count(unit::kAttn, scan_flops(rule) * y.rows() * d.heads * d.dk * d.dv);
  count_state(d);
  finish(op.out[0], std::move(y));
}

template i64 Step<f32>::state_slot(i64) const;
template i64 Step<f64>::state_slot(i64) const;
template std::vector<f64> Step<f32>::state_of(const FlatOperand&, i64) const;
template std::vector<f64> Step<f64>::state_of(const FlatOperand&, i64) const;
template void Step<f32>::count_state(const KvDecl&);
template void Step<f64>::count_state(const KvDecl&);
template void Step<f32>::conv_state(const FlatInstruction&);
template void Step<f64>::conv_state(const FlatInstruction&);
template void Step<f32>::scan(const FlatInstruction&);
template void Step<f64>::scan(const FlatInstruction&);

}  // namespace tg::isa
