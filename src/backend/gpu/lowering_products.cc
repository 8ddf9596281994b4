// Products, the cache, experts and tokens as launches.
#include "backend/gpu/lowering.h"
#include "base/assert.h"

namespace tg::backend::gpu {

namespace {

// Rows of x up to which a product streams its weights once instead of tiling (FEW, TILE_T and
// TILE_N of kernels/linear.cl).
constexpr i64 kFew = 8;
constexpr i64 kFewColumns = 4;
constexpr i64 kTileRows = 32;
constexpr i64 kTileColumns = 64;

// Query heads of a work-group of attention, and keys of a split.
constexpr i64 kHeads = 4;
constexpr i64 kSegment = 1'024;
// Tokens of a step up to which each sequence's keys are split among work-groups.
constexpr i64 kSplitTokens = 16;
// Rows of a tile of attention, one for each token and query head of a kv head; new tokens for each
// sequence from which a step is tiled; channels of heads that have tiles (cuda/attention_mma.cu).
constexpr i64 kAttentionTileRows = 64;
constexpr i64 kTileFreshMin = 17;
constexpr i32 kTileHeadMax = 256;

i64 ceil_div(i64 a, i64 b) {
  return (a + b - 1) / b;
}

// Attention is compiled for a few sizes of heads.
i32 head_capacity(i64 channels) {
  for (i32 capacity : {64, 128, 256, 576}) {
    if (channels <= capacity) return capacity;
  }
  return static_cast<i32>(kHeadDimMax);
}

}  // namespace

// Activations as xq rounds them, in scratch memory.
Arg Lowering::quantized(std::size_t x, const Matrix& m, bool as_codes, const When& when) {
  isa::ActivationQuant xq = attributes_.xq;
  i64 block = xq == isa::ActivationQuant::kInt8Token     ? m.columns
              : xq == isa::ActivationQuant::kFp8Block128 ? 128
                                                         : 32;
  const cpu::PlanLimits& limits = out_.plan.limits;
  i64 rows = evaluate(m.rows, StepSizes{limits.tokens, limits.sequences, limits.rows, 0});
  i64 row_bytes = as_codes ? m.columns / kRun * kCodesBytes : m.columns * 4;
  Arg rounded = scratch(rows * row_bytes);
  // Both int8 forms round alike.
  i64 kind = xq == isa::ActivationQuant::kInt8Token
                 ? static_cast<i64>(isa::ActivationQuant::kInt8Block32)
                 : static_cast<i64>(xq);
  Args args;
  args.size(m.rows).place(at(x)).place(rounded).word(m.columns).word(block).word(kind);
  args.word(as_codes);
  add(Kernel::kQuantize, args, {.size = m.rows}, {.size = {.constant = ceil_div(m.columns, block)}},
      {}, when);
  return rounded;
}

// acc=i32 promises exact sums of codes; acc=f32 may have them where the device is quick at it.
Lowering::Codes Lowering::codes_of(std::size_t w) const {
  bool is_int8 = attributes_.xq == isa::ActivationQuant::kInt8Block32 ||
                 attributes_.xq == isa::ActivationQuant::kInt8Token;
  if (!is_int8 || !multiplies_codes(weight(w).codec)) return Codes::kNever;
  if (attributes_.acc == isa::Accumulate::kI32) return Codes::kAlways;
  return out_.traits.int_dot ? Codes::kFew : Codes::kNever;
}

// x in the forms that the product reads.
void Lowering::set_x(std::size_t x, const Matrix& m, Product& p) {
  if (attributes_.xq == isa::ActivationQuant::kNone) {
    p.x = at(x);
    return;
  }
  p.codes = codes_of(1);
  if (p.codes != Codes::kNever) {
    p.x_codes = quantized(x, m, true, p.codes == Codes::kFew ? p.is_few() : When{});
  }
  if (p.codes != Codes::kAlways) {
    p.x = quantized(x, m, false, p.codes == Codes::kFew ? p.is_many() : When{});
  }
}

// How many bf16 numbers make one of x exactly.
i64 Lowering::parts_of(std::size_t x) const {
  if (attributes_.xq == isa::ActivationQuant::kBf16) return 1;
  if (attributes_.xq != isa::ActivationQuant::kNone) return 3;
  isa::DType type_of_x = type(x).dtype;
  return type_of_x == isa::DType::kBf16 ? 1 : type_of_x == isa::DType::kF16 ? 2 : 3;
}

// Experts share the rows out: tiles pay once each has several.
When Lowering::Product::is_few() const {
  return {.size = grouped ? perm_rows : rows, .size_max = grouped ? kFew * w.matrices : kFew};
}

When Lowering::Product::is_many() const {
  When few = is_few();
  return {.size = few.size, .size_min = few.size_max + 1};
}

// The product's forms, of which a step runs one.
void Lowering::product(std::size_t w, const Product& p) {
  variant_.codec = static_cast<i32>(weight(w).codec);
  Arg weights{.kind = ArgKind::kWeight, .symbol = in(w).index, .layer = in(w).layer};
  auto args_of = [&](bool codes) {
    Args args;
    args.size(p.rows).place(weights).place(codes ? p.x_codes : p.x).place(p.bias).place(to());
    args.place(p.perm).size(p.perm_rows).word(p.w.rows).word(p.w.columns).bytes(p.w.row_bytes);
    args.bytes(p.w.matrix_bytes());
    args.word(codes ? p.x_stride / kRun * (kCodesBytes / 4) : p.x_stride).word(p.x_step);
    args.word(p.y_stride).word(p.y_step).word(p.bias_step).word(p.grouped).word(p.ranks);
    args.word(p.has_bias).word(mode()).word(variant_.codec).word(p.parts);
    return args;
  };
  Size most = p.rows;  // of one matrix
  Extent matrices{.size = {.constant = p.w.matrices}};
  bool by_codes = p.codes != Codes::kNever;
  variant_.int_codes = by_codes;
  Args args = args_of(by_codes);
  add(Kernel::kLinearFew, args, {.size = {.constant = p.w.rows}, .each = kFewColumns},
      {.size = most, .each = kFew}, matrices, p.codes == Codes::kAlways ? When{} : p.is_few());
  variant_.int_codes = false;
  if (p.codes == Codes::kAlways) return;
  args = args_of(false);
  add(Kernel::kLinearTile, args, {.size = {.constant = p.w.rows}, .each = kTileColumns},
      {.size = most, .each = kTileRows}, matrices, p.is_many());
}

Status Lowering::linear() {
  TG_ASSIGN(Packed w, packed(1));
  Matrix x = matrix_of(type(0));
  Product p{.w = w,
            .bias = has(2) ? at(2) : none(),
            .perm = none(),
            .rows = x.rows,
            .x_stride = w.columns,
            .y_stride = w.rows,
            .parts = parts_of(0),
            .has_bias = has(2)};
  p.w.matrices = 1;
  set_x(0, x, p);
  product(1, p);
  return {};
}

Status Lowering::grouped_linear() {
  TG_ASSIGN(Packed w, packed(1));
  Matrix x = matrix_of(type(0));
  Matrix y = matrix_of(result());
  // Of T tokens, each expert has at most T rows: a router never chooses one twice for a token.
  Size tokens = type(2).dims[0];
  Product p{.w = w,
            .bias = has(3) ? at(3) : none(),
            .perm = at(2),
            .rows = tokens,
            .perm_rows = y.rows,
            .x_stride = w.columns,
            .y_stride = w.rows,
            .bias_step = w.rows,
            .ranks = x.rows == y.rows ? 1 : type(2).dims[1].constant,
            .parts = parts_of(0),
            .grouped = true,
            .has_bias = has(3)};
  set_x(0, x, p);
  product(1, p);
  return {};
}

Status Lowering::bmm() {
  const isa::Type& a = type(0);
  const isa::Type& y = result();
  if (in(1).kind == isa::OperandKind::kValue) {
    const Size& k = a.dims.back();
    if (k.t != 0 || k.s != 0 || k.r != 0) return unsupported("sums of a symbolic length");
    std::span<const Size> outer(y.dims.data(), y.dims.size() - 1);
    isa::Type left{.dims = {outer.begin(), outer.end()}};
    left.dims.push_back({.constant = 1});
    Size rows = matrix_of(left).rows;
    Size m = y.dims[y.dims.size() - 2];
    Size columns = y.dims.back();
    Args args;
    args.size(rows).place(at(0)).place(at(1)).place(to()).size(m).word(0).word(k.constant);
    args.size(columns).word(mode());
    isa::Type all{.dims = y.dims};
    all.dims.push_back({.constant = 1});
    add_elements(Kernel::kBmm, args, matrix_of(all).rows);
    return {};
  }
  TG_ASSIGN(Packed w, packed(1));
  Size tokens = y.dims[0];
  i64 a_groups = a.dims[1].constant;
  if (attributes_.trans != 0) {
    Args args;
    Arg weights{.kind = ArgKind::kWeight, .symbol = in(1).index, .layer = in(1).layer};
    args.size(tokens).place(at(0)).place(weights).place(to()).word(w.matrices).word(w.rows);
    args.word(w.columns).word(a_groups).bytes(w.row_bytes).bytes(w.matrix_bytes());
    args.word(static_cast<i64>(weight(1).codec)).word(mode());
    add_elements(Kernel::kBmmTransposed, args, tokens * (w.matrices * w.columns));
    return {};
  }
  Product p{.w = w,
            .x = at(0),
            .bias = none(),
            .perm = none(),
            .rows = tokens,
            .x_stride = a_groups * w.columns,
            .x_step = a_groups == 1 ? 0 : w.columns,
            .y_stride = w.matrices * w.rows,
            .y_step = w.rows,
            .parts = parts_of(0)};
  product(1, p);
  return {};
}

// ---- the cache

void Lowering::kv_append() {
  const isa::KvDecl& kv = out_.plan.program.program().kv[in(0).index];
  CacheForm form = cache_form(kv);
  variant_.format = static_cast<i32>(form.format);
  bool has_value = op_.in.size() == 4;
  i64 dv = has_value ? kv.dv : 0;
  // Blocks of 32 have one scale; other formats go element by element.
  i64 chunk = cpu::element_bytes(form.format) == 0 ? kRun : 1;
  Size tokens = type(1).dims[0];
  Arg cache{.kind = ArgKind::kKv, .symbol = in(0).index, .layer = in(0).layer};
  Args args;
  args.size(tokens).place(at(1)).place(has_value ? at(2) : none()).place(block()).place(cache);
  args.param(kParamSlots).word(form.heads).word(kv.dk).word(dv).word(form.page_tokens);
  args.bytes(form.page_bytes())
      .word(form.key_row)
      .word(form.value_row)
      .word(chunk)
      .word(variant_.format);
  add_elements(Kernel::kKvAppend, args,
               tokens * (form.heads * (ceil_div(kv.dk, chunk) + ceil_div(dv, chunk))));
}

Status Lowering::attention() {
  const isa::KvDecl& kv = out_.plan.program.program().kv[in(1).index];
  CacheForm form = cache_form(kv);
  variant_.format = static_cast<i32>(form.format);
  variant_.head = head_capacity(std::max(form.dk, form.dv));
  bool has_sinks = has(3);
  if (has_sinks && in(3).kind == isa::OperandKind::kValue) return unsupported("selected keys");
  i64 heads = attributes_.heads;
  i64 group_tiles = form.heads * ceil_div(heads / form.heads, kHeads);
  i64 segments = ceil_div(out_.plan.limits.context, kSegment);
  i64 split_tokens = std::min(kSplitTokens, out_.plan.limits.tokens);
  Arg sums = segments > 1 ? scratch(split_tokens * heads * segments * (form.dv + 2) * 4) : none();
  Arg sinks = has_sinks ? at(3) : none();
  Arg cache{.kind = ArgKind::kKv, .symbol = in(1).index, .layer = in(1).layer};
  Size tokens = type(0).dims[0];
  bool is_wide = result().dtype == isa::DType::kF32;
  auto args_of = [&](i64 splits) {
    Args args;
    args.size(tokens).place(at(0)).place(sinks).place(cache).place(block()).place(to());
    args.place(sums).param(kParamCu).param(kParamPast).param(kParamPageBegin);
    args.param(kParamPages).param(kParamTree).word(heads).word(form.heads);
    args.word(form.dk).word(form.dv).word(form.page_tokens).bytes(form.page_bytes());
    args.word(form.key_row)
        .word(form.value_row)
        .word(attributes_.window)
        .word(static_cast<i64>(attributes_.mask))
        .word(has_sinks);
    args.word(splits).real(attributes_.scale).real(attributes_.softcap).word(mode());
    args.word(variant_.format).word(parts_of(0)).word(is_wide ? 3 : 2);
    return args;
  };
  Extent rows{.size = tokens};
  Extent group_rows{.size = {.constant = group_tiles}};
  // Where each sequence has many new tokens, tiles of them, whatever the context.
  bool has_tiles = out_.traits.attention_tiles && variant_.head <= kTileHeadMax;
  auto untiled = [&](When when) {
    if (has_tiles) when.fresh_max = kTileFreshMin - 1;
    return when;
  };
  Args args = args_of(1);
  if (has_tiles) {
    add(Kernel::kAttentionTile, args,
        {.size = tokens * (heads / form.heads), .each = kAttentionTileRows},
        {.size = {.constant = form.heads}}, {}, {.fresh_min = kTileFreshMin});
    args = args_of(1);
  }
  if (segments == 1) {
    add(Kernel::kAttention, args, rows, group_rows, {}, untiled({}));
    return {};
  }
  add(Kernel::kAttention, args, rows, group_rows, {},
      untiled({.size = tokens, .context_max = kSegment}));
  args = args_of(1);
  add(Kernel::kAttention, args, rows, group_rows, {},
      untiled({.size = tokens, .size_min = split_tokens + 1, .context_min = kSegment + 1}));
  When split = untiled({.size = tokens, .size_max = split_tokens, .context_min = kSegment + 1});
  args = args_of(segments);
  add(Kernel::kAttention, args, rows, group_rows, {.size = {.constant = segments}}, split);
  Args join;
  join.size(tokens).place(sinks).place(sums).place(to()).word(heads).word(form.dv);
  join.word(has_sinks);
  join.word(segments).word(mode());
  add(Kernel::kAttentionJoin, join, rows, {.size = {.constant = heads}}, {}, split);
  return {};
}

// ---- experts

Status Lowering::route() {
  Matrix m = matrix_of(type(0));
  if (m.columns > kExpertsMax) {
    return unsupported(std::to_string(m.columns) + " experts, at most " +
                       std::to_string(kExpertsMax));
  }
  bool has_ids = op_.out.size() > 2;
  Args args;
  args.size(m.rows).place(at(0)).place(has(1) ? at(1) : none()).place(to(0));
  args.place(has_ids ? to(2) : none()).place(to(1)).word(m.columns).word(attributes_.k);
  args.word(static_cast<i64>(attributes_.score)).word(attributes_.groups);
  args.word(attributes_.topk_groups);
  args.word(attributes_.group_score == isa::GroupScore::kTop2).word(attributes_.renorm);
  args.word(has(1)).word(has_ids).real(attributes_.scale);
  add(Kernel::kRoute, args, {.size = m.rows});
  i64 line = out_.plan.ops[index_].route;
  Arg hits{.kind = ArgKind::kOutput, .value = static_cast<u64>(out_.plan.routes_offset + 4 * line)};
  Args order;
  order.size(m.rows * attributes_.k).place(to(1)).place(hits).word(m.columns);
  add(Kernel::kOrder, order, {});
  return {};
}

void Lowering::combine() {
  Matrix m = matrix_of(result());
  i64 k = type(1).dims[1].constant;
  Args args;
  args.size(m.rows).place(at(0)).place(at(2)).place(to()).word(m.columns).word(k).word(mode());
  add_elements(Kernel::kCombine, args, m.rows * m.columns);
}

// ---- tokens

void Lowering::logits() {
  Matrix m = matrix_of(result());
  const cpu::PlanLimits& limits = out_.plan.limits;
  i64 rows = evaluate(m.rows, StepSizes{limits.tokens, limits.sequences, limits.rows, 0});
  Args args;
  args.size(m.rows).place(at(0));
  args.place({.kind = ArgKind::kParams, .symbol = kParamSamples});
  args.place({.kind = ArgKind::kParams, .symbol = kParamLists}).place(to());
  args.place(scratch(rows * m.columns * 4)).word(m.columns);
  add(Kernel::kLogits, args, {.size = m.rows});
}

void Lowering::sample() {
  Matrix m = matrix_of(type(0));
  bool has_top = op_.out.size() > 2;
  Args args;
  args.size(m.rows).place(at(0)).place({.kind = ArgKind::kParams, .symbol = kParamSamples});
  args.place(to(0)).place(to(1)).place(has_top ? to(2) : none()).place(has_top ? to(3) : none());
  args.word(m.columns).word(has_top ? attributes_.top_n : 0);
  add(Kernel::kSample, args, {.size = m.rows});
}

}  // namespace tg::backend::gpu
