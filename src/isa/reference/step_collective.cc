// What the collectives compute once every rank's operand is at hand. Sums run in order of rank in
// the arithmetic's type and are rounded once, so order=any and order=fixed are the same here.
#include <algorithm>

#include "base/assert.h"
#include "isa/reference/step.h"

namespace tg::isa {

namespace {

// The ranks' operands and which of them is ours.
struct Peers {
  std::span<const Tensor* const> all;
  std::size_t me;
};

// The ranks' elements at i, summed in order, or the largest.
template <typename F>
F reduced(const Peers& peers, std::size_t i, bool takes_max) {
  F value = F(peers.all[0]->data[i]);
  for (std::size_t rank = 1; rank < peers.all.size(); ++rank) {
    F next = F(peers.all[rank]->data[i]);
    value = takes_max ? std::max(value, next) : value + next;
  }
  return value;
}

// Every row of y holds the columns of the reduced rows from `first` on.
template <typename F>
void reduce_ranks(const Peers& peers, bool takes_max, std::size_t first, Tensor& y) {
  std::size_t width = static_cast<std::size_t>(peers.all[0]->columns());
  for (i64 row = 0; row < y.rows(); ++row) {
    for (std::size_t c = 0; c < y.row(row).size(); ++c) {
      std::size_t at = static_cast<std::size_t>(row) * width + first + c;
      y.row(row)[c] = reduced<F>(peers, at, takes_max);
    }
  }
}

// Part j of a row of y comes from rank j: all of its row, or the part for us.
void move_parts(const Peers& peers, bool gathers, Tensor& y) {
  std::size_t part = static_cast<std::size_t>(y.columns()) / peers.all.size();
  std::size_t first = gathers ? 0 : peers.me * part;
  for (i64 row = 0; row < y.rows(); ++row) {
    for (std::size_t j = 0; j < peers.all.size(); ++j) {
      std::span<const f64> from = peers.all[j]->row(row).subspan(first, part);
      std::copy(from.begin(), from.end(), y.row(row).subspan(j * part).begin());
    }
  }
}

}  // namespace

template <typename F>
Status Step<F>::exchange(const FlatInstruction& op, std::span<const Tensor* const> operands,
                         i64 rank) {
  Peers peers{operands, static_cast<std::size_t>(rank)};
  const Tensor& x = *operands[peers.me];
  for (const Tensor* peer : operands) {
    if (peer->dims != x.dims)
      return trap(std::string(name(op.op)) + ": the ranks' operands differ in shape");
  }
  Tensor y = make(op.out[0]);
  i64 adds = 0;
  if (op.op == Opcode::kAllReduce || op.op == Opcode::kReduceScatter) {
    bool scatters = op.op == Opcode::kReduceScatter;
    bool takes_max =
        !scatters && op.word(AttributeKey::kReduction) == static_cast<u32>(Reduction::kMax);
    std::size_t first = scatters ? peers.me * static_cast<std::size_t>(y.columns()) : 0;
    reduce_ranks<F>(peers, takes_max, first, y);
    adds = static_cast<i64>(y.data.size() * (operands.size() - 1));
  } else {
    move_parts(peers, op.op == Opcode::kAllGather, y);
  }
  const Tensor& payload = op.op == Opcode::kAllGather ? y : x;
  count(unit::kComm, row_bytes(payload.dtype, static_cast<i64>(payload.data.size())));
  count(unit::kEw, adds);
  finish(op.out[0], std::move(y));
  return {};
}

template Status Step<f32>::exchange(const FlatInstruction&, std::span<const Tensor* const>, i64);
template Status Step<f64>::exchange(const FlatInstruction&, std::span<const Tensor* const>, i64);

}  // namespace tg::isa
