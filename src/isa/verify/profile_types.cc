// V3-V9, V12, V13: typing of the ops beyond profile TEXT, one function per op.
#include "isa/expression.h"
#include "isa/limits.h"
#include "isa/verify/rules.h"
#include "isa/verify/type_rules.h"

namespace tg::isa {

namespace {

const Dim kT{.t = 1};
const Dim kS{.s = 1};
const Dim kR{.r = 1};

Dim scaled(const Dim& dim, i64 factor) {
  return {.constant = dim.constant * factor,
          .t = static_cast<i32>(dim.t * factor),
          .s = static_cast<i32>(dim.s * factor),
          .r = static_cast<i32>(dim.r * factor)};
}

Status need_result(const OpView& op, std::size_t i, DType dtype, const std::vector<Dim>& dims) {
  if (i >= op.instruction().out.size()) return {};
  TG_TRY(need_dtype(op, "result", op.out(i), dtype));
  return need_dims(op, "result", op.out(i), dims);
}

Status need_float_result(const OpView& op, const std::vector<Dim>& dims) {
  TG_TRY(need_float(op, "result", op.out(0)));
  return need_dims(op, "result", op.out(0), dims);
}

// A float tensor of the given dimensions.
Status need_input(const OpView& op, std::size_t i, const std::vector<Dim>& dims) {
  TG_TRY(need_float(op, op.operand_label(i), op.in(i)));
  return need_dims(op, op.operand_label(i), op.in(i), dims);
}

Status need_constant(const OpView& op, std::string_view what, const Dim& dim) {
  if (is_constant(dim)) return {};
  return op.broken("V5", std::string(what) + " " + to_text(dim) + " is not constant");
}

Status need_divides(const OpView& op, std::string_view rule, const Dim& dim, i64 divisor,
                    std::string_view what) {
  if (is_constant(dim) && dim.constant % divisor == 0) return {};
  return op.broken(rule, to_text(dim) + " is not a multiple of " + std::to_string(divisor) + " " +
                             std::string(what));
}

// ---- MOE

Status grouped_linear(const OpView& op) {
  const Type x = op.in(0);
  const Type w = op.in(1);
  const Type perm = op.in(2);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_rank(op, op.operand_label(1), w, 3));
  const Dim routed = scaled(perm.dims[0], perm.dims[1].constant);
  if (w.dims[0] != perm.dims[2])
    return op.broken("V13", op.operand_label(1) + " has " + to_text(w.dims[0]) + " experts, " +
                                op.operand_label(2) + " chooses among " + to_text(perm.dims[2]));
  if (x.dims[0] != perm.dims[0] && x.dims[0] != routed)
    return op.broken("V13", "x has " + to_text(x.dims[0]) + " rows, " + op.operand_label(2) +
                                " orders " + to_text(perm.dims[0]) + " tokens");
  if (x.dims[1] != w.dims[2])
    return op.broken("V6", "x has " + to_text(x.dims[1]) + " columns, " + op.operand_label(1) +
                               " has " + to_text(w.dims[2]));
  TG_TRY(need_float_result(op, {routed, w.dims[1]}));
  if (op.has(3)) TG_TRY(need_input(op, 3, {w.dims[0], w.dims[1]}));
  return product_attributes(op, w.dims[2].constant);
}

Status route(const OpView& op) {
  const Type x = op.in(0);
  TG_TRY(need_float(op, "logits", x));
  TG_TRY(need_rank(op, "logits", x, 2));
  i64 k = op.word(AttributeKey::kK);
  i64 groups = op.word(AttributeKey::kGroups);
  if (x.dims[0] != kT) return op.broken("V13", "it routes " + to_text(x.dims[0]) + " rows, not T");
  TG_TRY(need_constant(op, "the number of experts", x.dims[1]));
  i64 experts = x.dims[1].constant;
  if (experts > kExpertsMax || k > experts)
    return op.broken("V13", "k " + std::to_string(k) + " of " + std::to_string(experts) +
                                " experts, at most " + std::to_string(kExpertsMax));
  TG_TRY(need_divides(op, "V13", x.dims[1], groups, "groups"));
  i64 eligible = experts / groups * op.word(AttributeKey::kTopkGroups);
  if (k > eligible)
    return op.broken("V13", "k " + std::to_string(k) + " of " + std::to_string(eligible) +
                                " experts in the chosen groups");
  bool top2 = op.word(AttributeKey::kGroupScore) == static_cast<u32>(GroupScore::kTop2);
  if (top2 && experts / groups < 2) return op.broken("V13", "group_score=top2 in groups of one");
  if (op.has(1)) TG_TRY(need_input(op, 1, {x.dims[1]}));
  TG_TRY(need_result(op, 0, DType::kF32, {kT, constant(k)}));
  const Type expected{
      .kind = ValueKind::kPerm, .dtype = DType::kF32, .dims = {kT, constant(k), x.dims[1]}};
  if (op.out(1) != expected)
    return op.broken(
        "V13", "its second result is " + to_text(op.out(1)) + ", expected " + to_text(expected));
  return need_result(op, 2, DType::kI32, {kT, constant(k)});
}

Status combine(const OpView& op) {
  const Type y = op.in(0);
  const Type perm = op.in(1);
  TG_TRY(need_float(op, "y", y));
  TG_TRY(need_rank(op, "y", y, 2));
  const Dim routed = scaled(perm.dims[0], perm.dims[1].constant);
  if (y.dims[0] != routed)
    return op.broken("V13", "y has " + to_text(y.dims[0]) + " rows, " + op.operand_label(1) +
                                " orders " + to_text(routed));
  TG_TRY(need_input(op, 2, {perm.dims[0], perm.dims[1]}));
  return need_float_result(op, {perm.dims[0], y.dims[1]});
}

// ---- SPARSE, STATE

Status index(const OpView& op) {
  const KvDecl& kv = op.kv(1);
  i64 heads = op.word(AttributeKey::kHeads);
  if (kv.heads != 1 || kv.dv != 0)
    return op.broken("V9", op.operand_label(1) + " is not a key-only cache of one head");
  TG_TRY(need_input(op, 0, {kT, constant(heads * kv.dk)}));
  TG_TRY(need_input(op, 2, {kT, constant(heads)}));
  return need_result(op, 0, DType::kI32, {kT, constant(op.word(AttributeKey::kK))});
}

Status conv_state(const OpView& op) {
  const Type x = op.in(0);
  const Type w = op.in(1);
  const KvDecl& st = op.kv(2);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_constant(op, "width", x.dims[1]));
  TG_TRY(need_float(op, op.operand_label(1), w));
  TG_TRY(need_rank(op, op.operand_label(1), w, 2));
  TG_TRY(need_dims(op, op.operand_label(1), w, {x.dims[1], w.dims[1]}));
  if (st.heads != 1 || st.dk != x.dims[1].constant || st.dv + 1 != w.dims[1].constant)
    return op.broken("V9", op.operand_label(2) + " is " + std::to_string(st.heads) + " x " +
                               std::to_string(st.dk) + " x " + std::to_string(st.dv) +
                               ", not 1 x " + to_text(x.dims[1]) + " x one less than " +
                               to_text(w.dims[1]));
  if (op.has(4)) TG_TRY(need_input(op, 4, {x.dims[1]}));
  return need_float_result(op, {kT, x.dims[1]});
}

// Operands after (q, k, v, g, st, bt), and whether g holds one number per head or per channel.
struct ScanShape {
  std::size_t extras;
  bool per_channel;
};

ScanShape scan_shape(ScanRule rule) {
  switch (rule) {
    case ScanRule::kGdn:
    case ScanRule::kMamba2: return {1, false};
    case ScanRule::kKda: return {1, true};
    case ScanRule::kGla: return {0, true};
    case ScanRule::kRwkv7: return {2, true};
  }
  return {0, false};
}

Status scan(const OpView& op) {
  const KvDecl& st = op.kv(4);
  ScanRule rule = static_cast<ScanRule>(op.word(AttributeKey::kRule));
  ScanShape shape = scan_shape(rule);
  i64 heads = op.word(AttributeKey::kHeads);
  std::string label =
      "rule=" + std::string(value_names(AttributeKey::kRule)[op.word(AttributeKey::kRule)]);
  if (op.operands() != 6 + shape.extras)
    return op.broken("V3", label + " takes " + std::to_string(6 + shape.extras) +
                               " operands, not " + std::to_string(op.operands()));
  if (st.heads != heads)
    return op.broken("V8", std::to_string(heads) + " heads, " + op.operand_label(4) + " has " +
                               std::to_string(st.heads));
  const std::vector<Dim> keys = {kT, constant(heads * st.dk)};
  const std::vector<Dim> per_head = {kT, constant(heads)};
  const std::vector<Dim> values = {kT, constant(heads * st.dv)};
  TG_TRY(need_input(op, 0, keys));
  TG_TRY(need_input(op, 1, keys));
  TG_TRY(need_input(op, 2, values));
  TG_TRY(need_input(op, 3, shape.per_channel ? keys : per_head));
  bool wide = rule == ScanRule::kRwkv7;
  for (std::size_t i = 6; i < op.operands(); ++i) TG_TRY(need_input(op, i, wide ? keys : per_head));
  return need_float_result(op, values);
}

// ---- SPEC, EMBED

Status spec_verify(const OpView& op) {
  const Type p = op.in(0);
  TG_TRY(need_dtype(op, "p", p, DType::kF32));
  TG_TRY(need_rank(op, "p", p, 2));
  TG_TRY(need_dims(op, "p", p, {kR, p.dims[1]}));
  TG_TRY(need_constant(op, "the vocabulary", p.dims[1]));
  TG_TRY(need_dtype(op, "ids", op.in(1), DType::kI32));
  TG_TRY(need_dims(op, "ids", op.in(1), {kT}));
  TG_TRY(need_dtype(op, "rows", op.in(2), DType::kI32));
  TG_TRY(need_dims(op, "rows", op.in(2), {kR}));
  bool rejection = op.word(AttributeKey::kMode) == static_cast<u32>(VerifyMode::kRejection);
  if (rejection != op.has(5))
    return op.broken("V12", rejection ? "mode=rejection needs q" : "q needs mode=rejection");
  if (rejection) {
    TG_TRY(need_dtype(op, "q", op.in(5), DType::kF32));
    TG_TRY(need_dims(op, "q", op.in(5), p.dims));
  }
  TG_TRY(need_result(op, 0, DType::kI32, {kS}));
  TG_TRY(need_result(op, 1, DType::kI32, {kS}));
  return need_result(op, 2, DType::kI32, {kR});
}

// Rows of all tokens, or the same number of rows for each sequence.
bool is_by_sequence(const Dim& rows) {
  return rows == kT || (rows.s > 0 && rows.constant == 0 && rows.t == 0 && rows.r == 0);
}

Status need_by_sequence(const OpView& op, const Type& x) {
  if (is_by_sequence(x.dims[0])) return {};
  return op.broken("V5", to_text(x.dims[0]) + " rows are neither T nor n*S");
}

Status attn_dense(const OpView& op) {
  const Type q = op.in(0);
  i64 heads = op.word(AttributeKey::kHeads);
  i64 kv_heads = op.word(AttributeKey::kKvHeads);
  for (std::size_t i = 0; i < 3; ++i) {
    TG_TRY(need_float(op, op.operand_label(i), op.in(i)));
    TG_TRY(need_rank(op, op.operand_label(i), op.in(i), 2));
  }
  TG_TRY(need_by_sequence(op, q));
  if (heads % kv_heads != 0)
    return op.broken("V8", std::to_string(heads) + " heads are not a multiple of " +
                               std::to_string(kv_heads) + " kv heads");
  TG_TRY(need_divides(op, "V8", q.dims[1], heads, "heads"));
  i64 dk = q.dims[1].constant / heads;
  TG_TRY(need_dims(op, "k", op.in(1), {q.dims[0], constant(kv_heads * dk)}));
  const Type v = op.in(2);
  TG_TRY(need_divides(op, "V8", v.dims[1], kv_heads, "kv heads"));
  TG_TRY(need_dims(op, "v", v, {q.dims[0], v.dims[1]}));
  return need_float_result(op, {q.dims[0], constant(v.dims[1].constant / kv_heads * heads)});
}

Status pool(const OpView& op) {
  const Type x = op.in(0);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_by_sequence(op, x));
  TG_TRY(need_constant(op, "width", x.dims[1]));
  return need_float_result(op, {kS, x.dims[1]});
}

// ---- DIST

Status collective(const OpView& op) {
  const Type x = op.in(0);
  i64 ranks = op.word(AttributeKey::kRanks);
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_dtype(op, "result", op.out(0), x.dtype));
  std::vector<Dim> dims = x.dims;
  if (op.op() == Opcode::kAllReduce) return need_dims(op, "result", op.out(0), dims);
  TG_TRY(need_constant(op, "the last dimension", dims.back()));
  if (op.op() == Opcode::kAllGather) {
    dims.back().constant *= ranks;
    return need_dims(op, "result", op.out(0), dims);
  }
  TG_TRY(need_divides(op, "V5", dims.back(), ranks, "ranks"));
  if (op.op() == Opcode::kReduceScatter) dims.back().constant /= ranks;
  return need_dims(op, "result", op.out(0), dims);
}

// ---- VISION

Status splice(const OpView& op) {
  const Type x = op.in(0);
  const Type y = op.in(2);
  TG_TRY(same_shape(op));
  TG_TRY(need_rank(op, "x", x, 2));
  TG_TRY(need_dtype(op, "rows", op.in(1), DType::kI32));
  TG_TRY(need_dims(op, "rows", op.in(1), {x.dims[0]}));
  TG_TRY(need_float(op, "y", y));
  TG_TRY(need_rank(op, "y", y, 2));
  return need_dims(op, "y", y, {y.dims[0], x.dims[1]});
}

// [S,C,H,W], or a weight [1,C,H,W]: all but the first constant.
Status need_image(const OpView& op, const Type& x) {
  TG_TRY(need_float(op, "x", x));
  TG_TRY(need_rank(op, "x", x, 4));
  for (std::size_t i = 1; i < 4; ++i) TG_TRY(need_constant(op, "an image's dimension", x.dims[i]));
  return {};
}

Status patchify(const OpView& op) {
  const Type x = op.in(0);
  i64 p = op.word(AttributeKey::kPatch);
  TG_TRY(need_image(op, x));
  TG_TRY(need_divides(op, "V5", x.dims[2], p, "rows per patch"));
  TG_TRY(need_divides(op, "V5", x.dims[3], p, "columns per patch"));
  i64 patches = x.dims[2].constant / p * (x.dims[3].constant / p);
  if (patches > kDimFactorMax || p > 4'096)
    return op.broken("V5", std::to_string(patches) + " patches of " + std::to_string(p));
  return need_float_result(op, {scaled(x.dims[0], patches), constant(x.dims[1].constant * p * p)});
}

// Positions of a window of `size` that moves by `stride` over `length` and `pad` zeros on each
// side.
i64 positions(i64 length, i64 size, i64 stride, i64 pad) {
  i64 padded = length + 2 * pad;
  return padded < size ? 0 : (padded - size) / stride + 1;
}

Status need_windows(const OpView& op, const Type& x, i64 height, i64 width) {
  if (height >= 1 && width >= 1) return {};
  return op.broken("V5", "its window does not fit " + dims_text(x.dims));
}

Status conv2d(const OpView& op) {
  const Type x = op.in(0);
  const Type w = op.in(1);
  TG_TRY(need_image(op, x));
  TG_TRY(need_rank(op, op.operand_label(1), w, 2));
  i64 kh = op.word(AttributeKey::kKh);
  i64 kw = op.word(AttributeKey::kKw);
  i64 stride = op.word(AttributeKey::kStride);
  i64 pad = op.word(AttributeKey::kPad);
  if (w.dims[1] != constant(x.dims[1].constant * kh * kw))
    return op.broken("V6", op.operand_label(1) + " has " + to_text(w.dims[1]) + " columns for " +
                               to_text(x.dims[1]) + " channels of " + std::to_string(kh) + " x " +
                               std::to_string(kw));
  auto length = [&](std::size_t i, i64 size) {
    return positions(x.dims[i].constant, size, stride, x.dims[i].constant > 1 ? pad : 0);
  };
  i64 height = length(2, kh);
  i64 width = length(3, kw);
  TG_TRY(need_windows(op, x, height, width));
  if (op.has(2)) TG_TRY(need_input(op, 2, {w.dims[0]}));
  ComputeClass cls = static_cast<ComputeClass>(op.word(AttributeKey::kCls));
  ComputeClass derived = w.dtype == DType::kF32 ? ComputeClass::kF32 : ComputeClass::kF16;
  if (cls != ComputeClass::kByWeight && cls != derived)
    return op.broken("V4", "cls contradicts the weight's codec");
  return need_float_result(op, {x.dims[0], w.dims[0], constant(height), constant(width)});
}

Status pool2d(const OpView& op) {
  const Type x = op.in(0);
  TG_TRY(need_image(op, x));
  i64 size = op.word(AttributeKey::kSize);
  i64 stride = op.word(AttributeKey::kStride);
  i64 height = positions(x.dims[2].constant, size, stride, 0);
  i64 width = positions(x.dims[3].constant, size, stride, 0);
  TG_TRY(need_windows(op, x, height, width));
  return need_float_result(op, {x.dims[0], x.dims[1], constant(height), constant(width)});
}

Status interp2d(const OpView& op) {
  const Type x = op.in(0);
  TG_TRY(need_image(op, x));
  const Type& y = op.out(0);
  TG_TRY(need_rank(op, "result", y, 4));
  return need_float_result(op, {x.dims[0], x.dims[1], y.dims[2], y.dims[3]});
}

Status permute(const OpView& op) {
  const Type x = op.in(0);
  std::span<const u32> axes = op.words(AttributeKey::kAxes);
  std::vector<Dim> dims;
  u32 seen = 0;
  for (u32 axis : axes) {
    if (axis >= x.dims.size() || (seen >> axis & 1) != 0)
      return op.broken("V5", "axis " + std::to_string(axis) + " of " + dims_text(x.dims));
    seen |= 1u << axis;
    dims.push_back(x.dims[axis]);
  }
  if (axes.size() != x.dims.size())
    return op.broken("V5", std::to_string(axes.size()) + " axes of " + dims_text(x.dims));
  TG_TRY(need_dtype(op, "result", op.out(0), x.dtype));
  return need_dims(op, "result", op.out(0), dims);
}

}  // namespace

Status check_profile_op(const OpView& op) {
  switch (op.op()) {
    case Opcode::kGroupedLinear: return grouped_linear(op);
    case Opcode::kRoute: return route(op);
    case Opcode::kCombine: return combine(op);
    case Opcode::kIndex: return index(op);
    case Opcode::kConvState: return conv_state(op);
    case Opcode::kScan: return scan(op);
    case Opcode::kSpecVerify: return spec_verify(op);
    case Opcode::kAttnDense: return attn_dense(op);
    case Opcode::kPool: return pool(op);
    case Opcode::kAllReduce:
    case Opcode::kAllGather:
    case Opcode::kReduceScatter:
    case Opcode::kAllToAll: return collective(op);
    case Opcode::kSplice: return splice(op);
    case Opcode::kPatchify: return patchify(op);
    case Opcode::kConv2d: return conv2d(op);
    case Opcode::kPool2d: return pool2d(op);
    case Opcode::kInterp2d: return interp2d(op);
    case Opcode::kPermute: return permute(op);
    default: return op.broken("V2", "has no typing rule");
  }
}

}  // namespace tg::isa
