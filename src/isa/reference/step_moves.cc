// Data movement: embed, gather, splice, view, concat and cast.
#include <algorithm>

#include "isa/codec.h"
#include "isa/reference/step.h"

namespace tg::isa {

template <typename F>
Status Step<F>::embed(const FlatInstruction& op) {
  const Tensor& ids = in(op, 1);
  Tensor y = make(op.out[0]);
  i64 vocabulary = weight_dims(op.in[0])[0];
  for (i64 t = 0; t < y.rows(); ++t) {
    i64 id = static_cast<i64>(ids.data[static_cast<std::size_t>(t)]);
    if (id < 0 || id >= vocabulary)
      return trap("token id " + std::to_string(id) + " of a vocabulary of " +
                  std::to_string(vocabulary));
    std::vector<f32> row = weight_row(op.in[0], id);
    std::copy(row.begin(), row.end(), y.row(t).begin());
  }
  const WeightDecl& decl = context_.program.weights[op.in[0].index];
  count(unit::kIo, y.rows() * row_bytes(decl.codec, decl.dims[1]));
  finish(op.out[0], std::move(y));
  return {};
}

template <typename F>
Status Step<F>::gather(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  const Tensor& rows = in(op, 1);
  Tensor y = make(op.out[0]);
  std::size_t width = x.data.size() / static_cast<std::size_t>(std::max<i64>(x.dims[0], 1));
  for (std::size_t r = 0; r < rows.data.size(); ++r) {
    i64 row = static_cast<i64>(rows.data[r]);
    if (row < 0 || row >= x.dims[0])
      return trap("row " + std::to_string(row) + " of " + std::to_string(x.dims[0]));
    std::copy_n(x.data.begin() + row * static_cast<i64>(width), width,
                y.data.begin() + static_cast<i64>(r * width));
  }
  finish(op.out[0], std::move(y));
  return {};
}

template <typename F>
void Step<F>::view(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  if (y.data.size() == x.data.size()) {
    y.data = x.data;
  } else {
    i64 offset = op.word(AttributeKey::kOffset);
    for (i64 t = 0; t < y.rows(); ++t)
      std::copy_n(x.row(t).begin() + offset, y.columns(), y.row(t).begin());
  }
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::concat(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  if (op.word(AttributeKey::kAxis) == 0) {
    y.data.clear();
    for (std::size_t i = 0; i < op.in.size(); ++i)
      y.data.insert(y.data.end(), in(op, i).data.begin(), in(op, i).data.end());
  } else {
    i64 column = 0;
    for (std::size_t i = 0; i < op.in.size(); ++i) {
      const Tensor& x = in(op, i);
      for (i64 t = 0; t < x.rows(); ++t)
        std::copy(x.row(t).begin(), x.row(t).end(), y.row(t).begin() + column);
      column += x.columns();
    }
  }
  finish(op.out[0], std::move(y));
}

// Rounding is what cast means, so the golden run rounds too.
template <typename F>
void Step<F>::cast(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  y.data = in(op, 0).data;
  for (f64& v : y.data) v = round_to(y.dtype, static_cast<f32>(v));
  finish(op.out[0], std::move(y));
}

template <typename F>
Status Step<F>::splice(const FlatInstruction& op) {
  const Tensor& rows = in(op, 1);
  const Tensor& y = in(op, 2);
  Tensor out = make(op.out[0]);
  out.data = in(op, 0).data;
  for (std::size_t t = 0; t < rows.data.size(); ++t) {
    i64 row = static_cast<i64>(rows.data[t]);
    if (row < 0) continue;
    if (row >= y.dims[0])
      return trap("row " + std::to_string(row) + " of " + std::to_string(y.dims[0]));
    std::copy(y.row(row).begin(), y.row(row).end(), out.row(static_cast<i64>(t)).begin());
  }
  finish(op.out[0], std::move(out));
  return {};
}

template Status Step<f32>::embed(const FlatInstruction&);
template Status Step<f64>::embed(const FlatInstruction&);
template Status Step<f32>::gather(const FlatInstruction&);
template Status Step<f64>::gather(const FlatInstruction&);
template Status Step<f32>::splice(const FlatInstruction&);
template Status Step<f64>::splice(const FlatInstruction&);
template void Step<f32>::view(const FlatInstruction&);
template void Step<f64>::view(const FlatInstruction&);
template void Step<f32>::concat(const FlatInstruction&);
template void Step<f64>::concat(const FlatInstruction&);
template void Step<f32>::cast(const FlatInstruction&);
template void Step<f64>::cast(const FlatInstruction&);

}  // namespace tg::isa
