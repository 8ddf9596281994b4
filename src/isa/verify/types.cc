// V4-V9, V12: every value's type is well formed, and every instruction's operands and results fit
// its op. One function per op, dimensions compared as linear forms.
#include <array>

#include "isa/expression.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"
#include "isa/verify/type_rules.h"

namespace tg::isa {

namespace {

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
  return product_attributes(op, w.dims[1].constant);
}

// b is a weight, one matrix per group: y[t,g] = w[g] a[t,g], or w[g]^T a[t,g] with trans=1.
Status bmm_weight(const OpView& op) {
  const Type a = op.in(0);
  const Type w = op.in(1);
  bool trans = op.word(AttributeKey::kTrans) == 1;
  const Dim& k = trans ? w.dims[1] : w.dims[2];
  const Dim& n = trans ? w.dims[2] : w.dims[1];
  if (a.dims[1] != w.dims[0] && a.dims[1] != constant(1))
    return op.broken("V5", "a has " + to_text(a.dims[1]) + " groups, " + op.operand_label(1) + " " +
                               to_text(w.dims[0]));
  if (a.dims[2] != k)
    return op.broken("V6", "a has " + to_text(a.dims[2]) + " columns, " + op.operand_label(1) +
                               " takes " + to_text(k));
  return need_dims(op, "result", op.out(0), {a.dims[0], w.dims[0], n});
}

Status bmm(const OpView& op) {
  const Type a = op.in(0);
  const Type b = op.in(1);
  TG_TRY(need_float(op, "a", a));
  TG_TRY(need_float(op, "result", op.out(0)));
  if (!op.is_weight(1)) TG_TRY(need_float(op, "b", b));
  TG_TRY(need_rank(op, "a", a, 3));
  TG_TRY(need_rank(op, "b", b, 3));
  if (op.is_weight(1)) return bmm_weight(op);
  if (op.word(AttributeKey::kTrans) == 1) return op.broken("V12", "trans needs a weight");
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

// One table, or several of which `table` picks one.
Status rope_table(const OpView& op, i64 rot) {
  const Type table = op.in(2);
  i64 rows = 1;
  if (table.dims.size() == 2) {
    TG_TRY(need_dims(op, op.operand_label(2), table, {table.dims[0], constant(rot / 2)}));
    rows = table.dims[0].constant;
  } else {
    TG_TRY(need_dims(op, op.operand_label(2), table, {constant(rot / 2)}));
  }
  for (u32 row : op.words(AttributeKey::kTable)) {
    if (row >= rows)
      return op.broken("V6", "table " + std::to_string(row) + " of " + std::to_string(rows));
  }
  return {};
}

Status rope(const OpView& op) {
  TG_TRY(same_shape(op));
  const Type x = op.in(0);
  const Type pos = op.in(1);
  i64 heads = op.word(AttributeKey::kHeads);
  i64 rot = op.word(AttributeKey::kRot);
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_dtype(op, "pos", pos, DType::kI32));
  std::vector<Dim> positions = {x.dims[0]};
  if (op.word(AttributeKey::kStyle) == static_cast<u32>(RopeStyle::kMrope))
    positions.insert(positions.begin(),
                     constant(static_cast<i64>(op.words(AttributeKey::kSections).size())));
  TG_TRY(need_dims(op, "pos", pos, positions));
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
  return rope_table(op, rot);
}

bool is_batch(const OpView& op, std::size_t i) {
  const Operand& o = op.operand(i);
  return o.kind == OperandKind::kValue && op.in(i).kind == ValueKind::kBatch;
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
  bool has_value = op.operands() == 4;
  bool good =
      is_batch(op, op.operands() - 1) && !is_batch(op, 1) && (!has_value || !is_batch(op, 2));
  if (!good) return op.broken("V3", "takes (kv, k[, v], bt)");
  if (has_value != (kv.dv > 0))
    return op.broken("V9", op.operand_label(0) + (has_value ? " has no values" : " needs values"));
  TG_TRY(need_kv_width(op, 1, kv.heads, kv.dk));
  return has_value ? need_kv_width(op, 2, kv.heads, kv.dv) : Status{};
}

// Which keys: i32[T,k], an `index` of theirs.
Status selection(const OpView& op, std::size_t i) {
  const Type sel = op.in(i);
  TG_TRY(need_dtype(op, "sel", sel, DType::kI32));
  TG_TRY(need_rank(op, "sel", sel, 2));
  if (!is_constant(sel.dims[1]) || sel.dims[1].constant < 1 || sel.dims[1].constant > kSelectedMax)
    return op.broken("V5", "sel has " + to_text(sel.dims[1]) + " columns");
  if (sel.dims[0] != Dim{.t = 1})
    return op.broken("V5", "sel has " + to_text(sel.dims[0]) + " rows, not T");
  if (op.word(AttributeKey::kMask) != 0 || op.words(AttributeKey::kWindow).size() > 1 ||
      op.word(AttributeKey::kWindow) != 0)
    return op.broken("V12", "sel goes with neither mask nor window");
  return {};
}

// (q, kv, bt[, sinks][, sel]): sinks are a table, sel is a value.
Status attn_extras(const OpView& op) {
  for (std::size_t i = 3; i < op.operands(); ++i) {
    if (op.operand(i).kind == OperandKind::kValue) {
      if (i + 1 < op.operands()) return op.broken("V3", "sel is the last operand");
      TG_TRY(selection(op, i));
      continue;
    }
    TG_TRY(need_float(op, "sinks", op.in(i)));
    TG_TRY(need_dims(op, "sinks", op.in(i), {constant(op.word(AttributeKey::kHeads))}));
  }
  return {};
}

Status attn(const OpView& op) {
  const KvDecl& kv = op.kv(1);
  i64 heads = op.word(AttributeKey::kHeads);
  if (heads % kv.heads != 0)
    return op.broken("V8", std::to_string(heads) + " heads are not a multiple of " +
                               std::to_string(kv.heads) + " kv heads");
  if (kv.value_dim() == 0) return op.broken("V9", op.operand_label(1) + " holds no values");
  TG_TRY(need_float(op, "q", op.in(0)));
  TG_TRY(need_float(op, "result", op.out(0)));
  TG_TRY(need_dims(op, "q", op.in(0), {Dim{.t = 1}, constant(heads * kv.dk)}));
  TG_TRY(need_dims(op, "result", op.out(0), {Dim{.t = 1}, constant(heads * kv.value_dim())}));
  return attn_extras(op);
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
  if (op.op() > Opcode::kSample) return check_profile_op(op);
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
    default: break;
  }
  return op.broken("V2", "has no typing rule");
}

// A perm orders rows as its route chose; nothing else may claim to be one.
Status check_perms(const OpView& op) {
  bool carries = op.op() == Opcode::kRepeat || op.op() == Opcode::kYield;
  for (std::size_t k = 0; k < op.instruction().out.size(); ++k) {
    bool routed = op.op() == Opcode::kRoute && k == 1;
    if (op.out(k).kind == ValueKind::kPerm && !routed && !carries)
      return op.broken("V13", "gives a perm, which only route makes");
  }
  return {};
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
  if (type.kind != ValueKind::kTensor) {
    // V11 and V16 named batch and params; route checks the rest of a perm.
    bool good = type.kind == ValueKind::kPerm ? type.dims.size() == 3 : type.dims.empty();
    if (!good) return wrong("V5", to_text(type) + " has a wrong rank");
    if (type.dtype != DType::kF32) return wrong("M4", to_text(type) + " has an element type");
    return {};
  }
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
  for (const Instruction& i : function.body) {
    OpView op(program, function, i);
    TG_TRY(check_perms(op));
    TG_TRY(check_op(op));
  }
  return {};
}

}  // namespace tg::isa
