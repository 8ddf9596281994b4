// Operands, results and data movement. The other ops are in step_products.cc, step_elementwise.cc,
// step_attention.cc and step_sample.cc.
#include "isa/reference/step.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

static i64 evaluate(const Dim& dim, const ReferenceBatch& batch) {
  return dim.constant + dim.t * static_cast<i64>(batch.ids.size()) +
         dim.s * static_cast<i64>(batch.past.size()) + dim.r * static_cast<i64>(batch.rows.size());
}

template <typename F>
Tensor Step<F>::make(u32 id) const {
  const Type& type = context_.flat.values[id];
  Tensor tensor{.dtype = type.dtype};
  i64 elements = 1;
  for (const Dim& dim : type.dims) {
    tensor.dims.push_back(evaluate(dim, context_.batch));
    elements *= tensor.dims.back();
  }
  tensor.data.resize(static_cast<std::size_t>(elements));
  return tensor;
}

template <typename F>
void Step<F>::set(u32 value, std::span<const i32> data) {
  Tensor tensor = make(value);
  TG_ASSERT(tensor.data.size() == data.size());
  std::copy(data.begin(), data.end(), tensor.data.begin());
  values_[value] = std::move(tensor);
}

template <typename F>
const Tensor& Step<F>::in(const FlatInstruction& op, std::size_t i) const {
  TG_ASSERT(op.in[i].kind == OperandKind::kValue);
  return values_[op.in[i].index];
}

template <typename F>
void Step<F>::finish(u32 id, Tensor tensor) {
  constexpr bool kRounds = std::is_same_v<F, f32>;
  if (kRounds && tensor.dtype != DType::kI32) {
    for (f64& v : tensor.data) v = round_to(tensor.dtype, static_cast<f32>(v));
  }
  values_[id] = std::move(tensor);
}

template <typename F>
void Step<F>::count(unit::Counter counter, i64 amount) {
  TG_ASSERT(amount >= 0);
  context_.counters[counter] += static_cast<u64>(amount);
}

template <typename F>
std::span<const u8> Step<F>::weight_bytes(const FlatOperand& operand) const {
  return context_.weights.by_symbol[operand.index][operand.layer];
}

template <typename F>
const std::vector<i64>& Step<F>::weight_dims(const FlatOperand& operand) const {
  return context_.program.weights[operand.index].dims;
}

template <typename F>
std::vector<f32> Step<F>::weight_row(const FlatOperand& operand, i64 row) const {
  const WeightDecl& decl = context_.program.weights[operand.index];
  std::size_t bytes = static_cast<std::size_t>(row_bytes(decl.codec, decl.dims.back()));
  std::vector<f32> out(static_cast<std::size_t>(decl.dims.back()));
  dequantize_row(decl.codec,
                 weight_bytes(operand).subspan(static_cast<std::size_t>(row) * bytes, bytes), out);
  return out;
}

template <typename F>
std::vector<F> Step<F>::table(const FlatOperand& operand) const {
  if (operand.kind == OperandKind::kValue) {
    const std::vector<f64>& data = values_[operand.index].data;
    return std::vector<F>(data.begin(), data.end());
  }
  std::vector<F> out;
  if (operand.kind == OperandKind::kConst) {
    const std::vector<u8>& bytes = context_.program.constants[operand.index].bytes;
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      u32 word = u32{bytes[i]} | u32{bytes[i + 1]} << 8 | u32{bytes[i + 2]} << 16 |
                 u32{bytes[i + 3]} << 24;
      out.push_back(F(std::bit_cast<f32>(word)));
    }
    return out;
  }
  const std::vector<i64>& dims = weight_dims(operand);
  i64 rows = 1;
  for (std::size_t i = 0; i + 1 < dims.size(); ++i) rows *= dims[i];
  for (i64 row = 0; row < rows; ++row) {
    std::vector<f32> values = weight_row(operand, row);
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

template <typename F>
Status Step<F>::embed(const FlatInstruction& op) {
  const Tensor& ids = in(op, 1);
  Tensor y = make(op.out[0]);
  i64 vocabulary = weight_dims(op.in[0])[0];
  for (i64 t = 0; t < y.rows(); ++t) {
    i64 id = static_cast<i64>(ids.data[static_cast<std::size_t>(t)]);
    if (id < 0 || id >= vocabulary)
      return Error{Code::kInvalid, "trap: token id " + std::to_string(id) + " of a vocabulary of " +
                                       std::to_string(vocabulary)};
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
      return Error{Code::kInvalid,
                   "trap: row " + std::to_string(row) + " of " + std::to_string(x.dims[0])};
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
Status Step<F>::execute(const FlatInstruction& op) {
  switch (op.op) {
    case Opcode::kEmbed: return embed(op);
    case Opcode::kGather: return gather(op);
    case Opcode::kLogits: return logits(op);
    case Opcode::kSample: return sample(op);
    case Opcode::kView: view(op); break;
    case Opcode::kConcat: concat(op); break;
    case Opcode::kCast: cast(op); break;
    case Opcode::kLinear: linear(op); break;
    case Opcode::kBmm: bmm(op); break;
    case Opcode::kRmsNorm: rmsnorm(op); break;
    case Opcode::kLayerNorm: layernorm(op); break;
    case Opcode::kAdd:
    case Opcode::kMul: add_or_mul(op); break;
    case Opcode::kGlu: glu(op); break;
    case Opcode::kAct: act(op); break;
    case Opcode::kEw: ew(op); break;
    case Opcode::kReduce: reduce(op); break;
    case Opcode::kRope: rope(op); break;
    case Opcode::kKvAppend: kv_append(op); break;
    case Opcode::kAttn: attn(op); break;
    case Opcode::kRepeat:
    case Opcode::kYield:
    case Opcode::kCount: TG_ASSERT(false && "not in a flat program");
  }
  return {};
}

template class Step<f32>;
template class Step<f64>;

}  // namespace tg::isa
