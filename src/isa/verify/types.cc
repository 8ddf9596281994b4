// V4-V9, V12: every value's type is well formed, and every instruction's operands and results fit
// its op. One function per op, dimensions compared as linear forms.
#include <array>

#include "isa/expression.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

namespace {

bool is_constant(const Dim& dim) {
  return dim.t == 0 && dim.s == 0 && dim.r == 0;
}

Dim constant(i64 value) {
  return Dim{.constant = value};
}

const Dim& last(const Type& type) {
  return type.dims.back();
}

// The type without its last dimension.
std::vector<Dim> leading(const Type& type) {
  return {type.dims.begin(), type.dims.end() - 1};
}

std::string dims_text(const std::vector<Dim>& dims) {
  std::string out = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) out += (i > 0 ? "," : "") + to_text(dims[i]);
  return out + "]";
}

Status need_dims(const OpView& op, std::string_view what, const Type& type,
                 const std::vector<Dim>& dims) {
  if (type.dims != dims)
    return op.broken(
        "V5", std::string(what) + " is " + dims_text(type.dims) + ", expected " + dims_text(dims));
  return {};
}

Status need_float(const OpView& op, std::string_view what, const Type& type) {
  if (!is_float(type.dtype))
    return op.broken("V4", std::string(what) + " is " + std::string(info(type.dtype).name) +
                               ", not f32, f16 or bf16");
  return {};
}

Status need_dtype(const OpView& op, std::string_view what, const Type& type, DType dtype) {
  if (type.dtype != dtype)
    return op.broken("V4", std::string(what) + " is " + std::string(info(type.dtype).name) +
                               ", not " + std::string(info(dtype).name));
  return {};
}

Status need_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank) {
  if (type.dims.size() != rank)
    return op.broken("V5", std::string(what) + " has rank " + std::to_string(type.dims.size()) +
                               ", expected " + std::to_string(rank));
  return {};
}

Status need_min_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank) {
  if (type.dims.size() < rank)
    return op.broken("V5", std::string(what) + " has rank " + std::to_string(type.dims.size()) +
                               ", expected at least " + std::to_string(rank));
  return {};
}

// x and the result are activations of one shape.
Status same_shape(const OpView& op) {
  TG_TRY(need_float(op, "x", op.in(0)));
  TG_TRY(need_float(op, "result", op.out(0)));
  return need_dims(op, "result", op.out(0), op.in(0).dims);
}

// An operand of the result's shape, or one row of it that is used for every row.
Status shape_or_row(const OpView& op, std::size_t i) {
  const Type type = op.in(i);
  TG_TRY(need_float(op, op.operand_label(i), type));
  bool is_row = type.dims.size() == 1 && type.dims[0] == last(op.out(0));
  if (is_row) return {};
  return need_dims(op, op.operand_label(i), type, op.out(0).dims);
}

Status embed(const OpView& op) {
  const Type table = op.in(0);
  const Type ids = op.in(1);
  TG_TRY(need_rank(op, "table", table, 2));
  TG_TRY(need_rank(op, "ids", ids, 1));
  TG_TRY(need_dtype(op, "ids", ids, DType::kI32));
  TG_TRY(need_float(op, "result", op.out(0)));
  return need_dims(op, "result", op.out(0), {ids.dims[0], table.dims[1]});
}

Status gather(const OpView& op) {
  const Type x = op.in(0);
  const Type rows = op.in(1);
  TG_TRY(need_min_rank(op, "x", x, 2));
  TG_TRY(need_rank(op, "rows", rows, 1));
  TG_TRY(need_dtype(op, "rows", rows, DType::kI32));
  TG_TRY(need_dtype(op, "result", op.out(0), x.dtype));
  std::vector<Dim> dims = x.dims;
  dims[0] = rows.dims[0];
  return need_dims(op, "result", op.out(0), dims);
}

// Elements as a linear form: types hold at most one symbolic dimension, so the product is one.
using Elements = std::array<i64, 4>;  // constant, T, S, R; within kElementsMax by check_value

Elements elements(const Type& type) {
  Elements product = {1, 0, 0, 0};
  for (const Dim& d : type.dims) {
    Elements form = is_constant(d) ? product : Elements{d.constant, d.t, d.s, d.r};
    i64 factor = is_constant(d) ? d.constant : product[0];
    for (std::size_t i = 0; i < form.size(); ++i) product[i] = form[i] * factor;
  }
  return product;
}

Status view(const OpView& op) {
  const Type x = op.in(0);
  const Type& y = op.out(0);
  i64 offset = op.word(AttributeKey::kOffset);
  TG_TRY(need_dtype(op, "result", y, x.dtype));
  bool slices = x.dims.size() == y.dims.size() && leading(x) == leading(y) &&
                is_constant(last(x)) && is_constant(last(y));
  if (slices) {
    if (offset + last(y).constant > last(x).constant)
      return op.broken("V5", "columns " + std::to_string(offset) + ".." +
                                 std::to_string(offset + last(y).constant) + " of " +
                                 to_text(last(x)));
    return {};
  }
  if (offset != 0) return op.broken("V5", "a reshape has no offset");
  if (x.dims[0] != y.dims[0] || elements(x) != elements(y))
    return op.broken("V5", dims_text(x.dims) + " cannot be seen as " + dims_text(y.dims));
  return {};
}

Status concat(const OpView& op) {
  const Type first = op.in(0);
  bool rows = op.word(AttributeKey::kAxis) == 0;
  std::size_t axis = rows ? 0 : first.dims.size() - 1;
  TG_TRY(need_min_rank(op, "x", first, 2));
  TG_TRY(need_dtype(op, "result", op.out(0), first.dtype));
  std::vector<Dim> dims = first.dims;
  dims[axis] = Dim{};
  for (std::size_t i = 0; i < op.operands(); ++i) {
    Type x = op.in(i);
    TG_TRY(need_dtype(op, op.operand_label(i), x, first.dtype));
    TG_TRY(need_rank(op, op.operand_label(i), x, first.dims.size()));
    Dim part = x.dims[axis];
    x.dims[axis] = first.dims[axis];
    TG_TRY(need_dims(op, op.operand_label(i), x, first.dims));
    Dim& sum = dims[axis];
    sum = {.constant = sum.constant + part.constant,
           .t = sum.t + part.t,
           .s = sum.s + part.s,
           .r = sum.r + part.r};
  }
  return need_dims(op, "result", op.out(0), dims);
}

ComputeClass derived_class(const OpView& op) {
  switch (static_cast<ActivationQuant>(op.word(AttributeKey::kXq))) {
    case ActivationQuant::kInt8Block32:
    case ActivationQuant::kInt8Token: return ComputeClass::kInt8;
    case ActivationQuant::kFp8Block128: return ComputeClass::kFp8;
    case ActivationQuant::kMxfp4: return ComputeClass::k4Bit;
    case ActivationQuant::kNone: break;
  }
  return op.in(1).dtype == DType::kF32 ? ComputeClass::kF32 : ComputeClass::kF16;
}

// The blocks in which activations are quantised divide a row.
Status activation_blocks(const OpView& op, i64 k) {
  ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
  i64 block = xq == ActivationQuant::kInt8Block32 || xq == ActivationQuant::kMxfp4 ? 32
              : xq == ActivationQuant::kFp8Block128                                ? 128
                                                                                   : 1;
  if (k % block != 0)
    return op.broken("V7", "K=" + std::to_string(k) + " is not a multiple of xq's block of " +
                               std::to_string(block));
  bool int8 = xq == ActivationQuant::kInt8Block32 || xq == ActivationQuant::kInt8Token;
  if (op.word(AttributeKey::kAcc) == static_cast<u32>(Accumulate::kI32) && !int8)
    return op.broken("V12", "acc=i32 needs xq=i8/32 or i8/tok");
  return {};
}

Status linear(const OpView& op) {
  const Type x = op.in(0);
  const Type w = op.in(1);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_float(op, "result", op.out(0)));
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_rank(op, op.operand_label(1), w, 2));
  if (last(x) != w.dims[1])
    return op.broken("V6", "x has " + to_text(last(x)) + " columns, " + op.operand_label(1) +
                               " has " + to_text(w.dims[1]));
  TG_TRY(need_dims(op, "result", op.out(0), {x.dims[0], w.dims[0]}));
  if (op.has(2)) {
    const Type bias = op.in(2);
    TG_TRY(need_float(op, "bias", bias));
    TG_TRY(need_dims(op, "bias", bias, {w.dims[0]}));
  }
  ComputeClass cls = static_cast<ComputeClass>(op.word(AttributeKey::kCls));
  if (cls != ComputeClass::kByWeight && cls != derived_class(op))
    return op.broken("V4", "cls contradicts the weight's codec and xq");
  return activation_blocks(op, w.dims[1].constant);
}

Status bmm(const OpView& op) {
  const Type a = op.in(0);
  const Type b = op.in(1);
  TG_TRY(need_float(op, "a", a));
  TG_TRY(need_float(op, "result", op.out(0)));
  if (!op.is_weight(1)) TG_TRY(need_float(op, "b", b));
  TG_TRY(need_rank(op, "a", a, 3));
  TG_TRY(need_rank(op, "b", b, 3));
  if (a.dims[0] != b.dims[0])
    return op.broken("V5", "a has " + to_text(a.dims[0]) + " groups, b " + to_text(b.dims[0]));
  if (a.dims[2] != b.dims[2])
    return op.broken("V5", "a has " + to_text(a.dims[2]) + " columns, b " + to_text(b.dims[2]));
  int symbolic = !is_constant(a.dims[0]) + !is_constant(a.dims[1]) + !is_constant(a.dims[2]) +
                 !is_constant(b.dims[1]);
  if (symbolic > 1) return op.broken("V5", "its cost is not linear in the step symbols");
  return need_dims(op, "result", op.out(0), {a.dims[0], a.dims[1], b.dims[1]});
}

Status norm_table(const OpView& op, std::size_t i, const Dim& width, const Dim& group) {
  if (!op.has(i)) return {};
  const Type w = op.in(i);
  TG_TRY(need_float(op, op.operand_label(i), w));
  if (w.dims.size() == 1 && w.dims[0] == group) return {};
  return need_dims(op, op.operand_label(i), w, {width});
}

Status rmsnorm(const OpView& op) {
  TG_TRY(same_shape(op));
  const Dim width = last(op.in(0));
  if (!is_constant(width)) return op.broken("V5", "its last dimension is not constant");
  i64 group = op.word(AttributeKey::kGroup);
  if (group > 0 && width.constant % group != 0)
    return op.broken(
        "V8", "width " + to_text(width) + " is not a multiple of group " + std::to_string(group));
  return norm_table(op, 1, width, group > 0 ? constant(group) : width);
}

Status layernorm(const OpView& op) {
  TG_TRY(same_shape(op));
  const Dim width = last(op.in(0));
  if (!is_constant(width)) return op.broken("V5", "its last dimension is not constant");
  TG_TRY(norm_table(op, 1, width, width));
  return norm_table(op, 2, width, width);
}

Status elementwise(const OpView& op) {
  TG_TRY(same_shape(op));
  for (std::size_t i = 1; i < op.operands(); ++i) TG_TRY(shape_or_row(op, i));
  return {};
}

Status glu(const OpView& op) {
  if (op.has(1)) {
    TG_TRY(same_shape(op));
    TG_TRY(need_float(op, "u", op.in(1)));
    return need_dims(op, "u", op.in(1), op.in(0).dims);
  }
  const Type x = op.in(0);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_float(op, "result", op.out(0)));
  std::vector<Dim> dims = x.dims;
  if (!is_constant(dims.back()) || dims.back().constant % 2 != 0)
    return op.broken("V5", "packed gate and up need an even width, not " + to_text(dims.back()));
  dims.back().constant /= 2;
  return need_dims(op, "result", op.out(0), dims);
}

Status reduce(const OpView& op) {
  const Type x = op.in(0);
  TG_TRY(need_float(op, "x", x));
  if (!is_constant(last(x))) return op.broken("V5", "its last dimension is not constant");
  Reduction kind = static_cast<Reduction>(op.word(AttributeKey::kReduction));
  if (kind == Reduction::kSoftmax) return same_shape(op);
  TG_TRY(need_min_rank(op, "x", x, 2));
  TG_TRY(need_dims(op, "result", op.out(0), leading(x)));
  if (kind == Reduction::kArgmax) return need_dtype(op, "result", op.out(0), DType::kI32);
  return need_float(op, "result", op.out(0));
}

Status rope(const OpView& op) {
  TG_TRY(same_shape(op));
  const Type x = op.in(0);
  const Type pos = op.in(1);
  i64 heads = op.word(AttributeKey::kHeads);
  i64 rot = op.word(AttributeKey::kRot);
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_dtype(op, "pos", pos, DType::kI32));
  TG_TRY(need_dims(op, "pos", pos, {x.dims[0]}));
  if (!is_constant(x.dims[1]) || x.dims[1].constant % heads != 0)
    return op.broken("V8", "width " + to_text(x.dims[1]) + " is not a multiple of " +
                               std::to_string(heads) + " heads");
  i64 width = x.dims[1].constant / heads;
  if (rot % 2 != 0) return op.broken("V8", "rot " + std::to_string(rot) + " is odd");
  if (op.word(AttributeKey::kOffset) + rot > width)
    return op.broken("V8", "rot " + std::to_string(rot) + " at offset " +
                               std::to_string(op.word(AttributeKey::kOffset)) +
                               " exceeds the head's " + std::to_string(width));
  TG_TRY(need_dtype(op, op.operand_label(2), op.in(2), DType::kF32));
  return need_dims(op, op.operand_label(2), op.in(2), {constant(rot / 2)});
}

Status need_kv_width(const OpView& op, std::size_t i, i64 heads, i64 width) {
  const Type type = op.in(i);
  TG_TRY(need_float(op, op.operand_label(i), type));
  std::vector<Dim> dims = {Dim{.t = 1}, constant(heads * width)};
  if (type.dims != dims)
    return op.broken("V9", op.operand_label(i) + " is " + dims_text(type.dims) + ", " +
                               op.operand_label(0) + " takes " + dims_text(dims));
  return {};
}

Status kv_append(const OpView& op) {
  const KvDecl& kv = op.kv(0);
  TG_TRY(need_kv_width(op, 1, kv.heads, kv.dk));
  return need_kv_width(op, 2, kv.heads, kv.dv);
}

Status attn(const OpView& op) {
  const KvDecl& kv = op.kv(1);
  i64 heads = op.word(AttributeKey::kHeads);
  if (heads % kv.heads != 0)
    return op.broken("V8", std::to_string(heads) + " heads are not a multiple of " +
                               std::to_string(kv.heads) + " kv heads");
  TG_TRY(need_float(op, "q", op.in(0)));
  TG_TRY(need_float(op, "result", op.out(0)));
  TG_TRY(need_dims(op, "q", op.in(0), {Dim{.t = 1}, constant(heads * kv.dk)}));
  TG_TRY(need_dims(op, "result", op.out(0), {Dim{.t = 1}, constant(heads * kv.dv)}));
  if (!op.has(3)) return {};
  TG_TRY(need_float(op, "sinks", op.in(3)));
  return need_dims(op, "sinks", op.in(3), {constant(heads)});
}

Status logits(const OpView& op) {
  TG_TRY(need_rank(op, "x", op.in(0), 2));
  TG_TRY(need_dtype(op, "x", op.in(0), DType::kF32));
  TG_TRY(need_dtype(op, "result", op.out(0), DType::kF32));
  return same_shape(op);
}

Status sample(const OpView& op) {
  const Type x = op.in(0);
  u32 top = op.word(AttributeKey::kTopN);
  std::size_t results = op.instruction().out.size();
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_dtype(op, "x", x, DType::kF32));
  if (results != (top > 0 ? 4 : 2))
    return op.broken("V3", std::to_string(results) + " results with top_n=" + std::to_string(top));
  for (std::size_t i = 0; i < results; ++i) {
    TG_TRY(need_dtype(op, "result", op.out(i), i % 2 == 0 ? DType::kI32 : DType::kF32));
    std::vector<Dim> dims = {x.dims[0]};
    if (i >= 2) dims.push_back(constant(top));
    TG_TRY(need_dims(op, "result", op.out(i), dims));
  }
  return {};
}

Status cast(const OpView& op) {
  return same_shape(op);
}

Status check_op(const OpView& op) {
  switch (op.op()) {
    case Opcode::kRepeat:
    case Opcode::kYield: return {};  // V14 compared the carried types.
    case Opcode::kEmbed: return embed(op);
    case Opcode::kGather: return gather(op);
    case Opcode::kView: return view(op);
    case Opcode::kConcat: return concat(op);
    case Opcode::kCast: return cast(op);
    case Opcode::kLinear: return linear(op);
    case Opcode::kBmm: return bmm(op);
    case Opcode::kRmsNorm: return rmsnorm(op);
    case Opcode::kLayerNorm: return layernorm(op);
    case Opcode::kAdd:
    case Opcode::kMul:
    case Opcode::kEw: return elementwise(op);
    case Opcode::kGlu: return glu(op);
    case Opcode::kAct: return same_shape(op);
    case Opcode::kReduce: return reduce(op);
    case Opcode::kRope: return rope(op);
    case Opcode::kKvAppend: return kv_append(op);
    case Opcode::kAttn: return attn(op);
    case Opcode::kLogits: return logits(op);
    case Opcode::kSample: return sample(op);
    case Opcode::kCount: break;
  }
  return op.broken("V2", "has no typing rule");
}

i64 at_bounds(const Dim& dim, const Bounds& bounds) {
  return dim.constant + dim.t * bounds.tokens + dim.s * bounds.sequences + dim.r * bounds.rows;
}

bool in_range(const Dim& dim) {
  bool good = dim.constant >= 0 && dim.constant <= kDimMax;
  for (i32 factor : {dim.t, dim.s, dim.r}) good &= factor >= 0 && factor <= kDimFactorMax;
  return good && dim != Dim{};
}

Status check_value(const Program& program, const Function& function, u32 id) {
  const Type& type = function.value_types[id];
  auto wrong = [&](std::string_view rule, const std::string& message) {
    return broken(rule, value_label(function, id) + ": " + message);
  };
  if (type.kind != ValueKind::kTensor) return {};  // V11 and V16 named each of them.
  if (type.dtype >= DType::kCount || (!is_float(type.dtype) && type.dtype != DType::kI32))
    return wrong("V4", "values are f32, f16, bf16 or i32");
  if (type.dims.empty() || static_cast<i64>(type.dims.size()) > kRankMax)
    return wrong("V5", "rank " + std::to_string(type.dims.size()) + " is not in 1.." +
                           std::to_string(kRankMax));
  int symbolic = 0;
  i64 elements = 1;
  for (const Dim& dim : type.dims) {
    if (!in_range(dim)) return wrong("V5", "dimension " + to_text(dim) + " is out of range");
    symbolic += !is_constant(dim);
    i64 size = at_bounds(dim, program.bounds);
    if (elements > kElementsMax / size)
      return wrong("M6", "more than " + std::to_string(kElementsMax) + " elements");
    elements *= size;
  }
  if (symbolic > 1) return wrong("V5", "more than one symbolic dimension");
  return {};
}

}  // namespace

Status check_types(const Program& program, const Function& function) {
  for (u32 id = 0; id < function.value_types.size(); ++id)
    TG_TRY(check_value(program, function, id));
  for (const Instruction& i : function.body) TG_TRY(check_op(OpView(program, function, i)));
  return {};
}

}  // namespace tg::isa
