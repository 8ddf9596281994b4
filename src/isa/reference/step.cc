// Operands, results, and which op runs.
#include "isa/reference/step.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

Error trap(std::string message) {
  return Error{Code::kInvalid, "trap: " + std::move(message)};
}

bool is_collective(Opcode op) {
  return info(op).profile == Profile::kDist;
}

i64 evaluate(const Dim& dim, const ReferenceBatch& batch) {
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

static std::string dims_text(const Tensor& tensor) {
  std::string out(info(tensor.dtype).name);
  for (std::size_t i = 0; i < tensor.dims.size(); ++i)
    out += (i == 0 ? "[" : ",") + std::to_string(tensor.dims[i]);
  return out + "]";
}

template <typename F>
Status Step<F>::set(u32 value, const Tensor& tensor) {
  Tensor expected = make(value);
  bool fits = tensor.dtype == expected.dtype && tensor.dims == expected.dims &&
              tensor.data.size() == expected.data.size();
  if (!fits) return trap("an input is " + dims_text(tensor) + ", not " + dims_text(expected));
  finish(value, tensor);
  return {};
}

template <typename F>
Status Step<F>::set_inputs() {
  const std::vector<u32>& parameters = context_.flat.parameters;
  set(parameters[0], context_.batch.ids);
  set(parameters[1], context_.batch.positions);
  set(parameters[2], context_.batch.rows);
  std::size_t next = 0;
  for (std::size_t i = 4; i < parameters.size(); ++i) {
    if (context_.flat.values[parameters[i]].kind != ValueKind::kTensor) continue;
    TG_TRY(set(parameters[i], context_.batch.extra[next++]));
  }
  return {};
}

template <typename F>
std::vector<Tensor> Step<F>::results() const {
  std::vector<Tensor> out;
  for (u32 id : context_.flat.results) out.push_back(values_[id]);
  return out;
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
bool Step<F>::has_type(const FlatOperand& operand, DType dtype) const {
  return operand.kind == OperandKind::kValue && context_.flat.values[operand.index].dtype == dtype;
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
const Dim& Step<F>::row_dim(const FlatInstruction& op) const {
  return context_.flat.values[op.in[0].index].dims[0];
}

template <typename F>
RowRange Step<F>::rows_of(const Dim& rows, i64 sequence) const {
  if (rows.s > 0) return {.first = sequence * rows.s, .count = rows.s};
  const ReferenceBatch& b = context_.batch;
  std::size_t s = static_cast<std::size_t>(sequence);
  return {.first = b.cu[s], .count = i64{b.cu[s + 1]} - b.cu[s]};
}

template <typename F>
Status Step<F>::execute(const FlatInstruction& op) {
  switch (op.op) {
    case Opcode::kEmbed: return embed(op);
    case Opcode::kGather: return gather(op);
    case Opcode::kSplice: return splice(op);
    case Opcode::kKvAppend: return kv_append(op);
    case Opcode::kAttn: return attn(op);
    case Opcode::kIndex: return index(op);
    case Opcode::kAttnDense: return attn_dense(op);
    case Opcode::kRoute: return route(op);
    case Opcode::kLogits: return logits(op);
    case Opcode::kSample: return sample(op);
    case Opcode::kSpecVerify: return spec_verify(op);
    case Opcode::kAllReduce:
    case Opcode::kAllGather:
    case Opcode::kReduceScatter:
    case Opcode::kAllToAll:
      return trap(std::string(name(op.op)) + " runs in a group of ranks only");
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
    case Opcode::kGroupedLinear: grouped_linear(op); break;
    case Opcode::kCombine: combine(op); break;
    case Opcode::kConvState: conv_state(op); break;
    case Opcode::kScan: scan(op); break;
    case Opcode::kPool: pool(op); break;
    case Opcode::kPatchify: patchify(op); break;
    case Opcode::kConv2d: conv2d(op); break;
    case Opcode::kPool2d: pool2d(op); break;
    case Opcode::kInterp2d: interp2d(op); break;
    case Opcode::kPermute: permute(op); break;
    case Opcode::kRepeat:
    case Opcode::kYield:
    case Opcode::kCount: TG_ASSERT(false && "not in a flat program");
  }
  return {};
}

template class Step<f32>;
template class Step<f64>;

}  // namespace tg::isa
