// Running one op: its operands as the arguments of a kernel.
#include <algorithm>

#include "backend/cpu/activation_quant.h"
#include "backend/cpu/fork.h"
#include "backend/cpu/kv_store.h"
#include "backend/cpu/moe_ops.h"
#include "base/assert.h"
#include "isa/limits.h"

namespace tg::backend::cpu {

using isa::Opcode;

void Exec::run_op(const BoundOp& op) {
  Tensor out = op.out.empty() ? Tensor{} : tensor(op.out[0]);
  if (!op.out.empty() && out.elements() == 0) return;
  switch (op.op) {
    case Opcode::kLinear: run_linear(op, out); break;
    case Opcode::kEmbed: run_embed(op, out); break;
    case Opcode::kRmsNorm: run_rms_norm(op, out); break;
    case Opcode::kAdd:
    case Opcode::kMul: run_binary(op, out); break;
    case Opcode::kRope: run_rope(op, out); break;
    case Opcode::kKvAppend: run_kv_append(op); break;
    case Opcode::kAttn: run_attention(op, out); break;
    case Opcode::kGlu:
      if (!run_glu(op, out)) run_plain_op(op, out);
      break;
    default: run_profile_op(op, out); break;
  }
  round_results(op);
  if (op.op != Opcode::kLinear) rounded_ = nullptr;
}

void Exec::run_profile_op(const BoundOp& op, const Tensor& out) {
  switch (op.op) {
    case Opcode::kBmm: return run_bmm(op, out);
    case Opcode::kRoute: return run_route(op, out);
    case Opcode::kGroupedLinear: return run_grouped_linear(op, out);
    case Opcode::kAttnDense: return run_attention_dense(op, out);
    case Opcode::kPool: return run_pool(op, out);
    case Opcode::kLogits: return run_logits(op, out);
    case Opcode::kSample: return run_sample(op, out);
    case Opcode::kSpecVerify: return run_verify(op, out);
    case Opcode::kCombine: {
      Tensor y = tensor(op.in[0]);
      Tensor w = tensor(op.in[2]);
      return fork(y.elements(), [&](i32 part, i32 parts) { combine(y, w, out, part, parts); });
    }
    default: return run_plain_op(op, out);
  }
}

void Exec::round_results(const BoundOp& op) {
  if (op.out.empty()) return;
  isa::DType type = plan_.flat.values[op.out[0]].dtype;
  if (type != isa::DType::kF16 && type != isa::DType::kBf16) return;
  Tensor out = tensor(op.out[0]);
  fork(out.elements(), [&](i32 part, i32 parts) { round_rows(type, out, part, parts); });
}

const f32* Exec::activations(const BoundOp& op, const Tensor& x) {
  if (op.attributes.xq == isa::ActivationQuant::kNone) return x.data;
  f32* rounded = reinterpret_cast<f32*>(memory_.workspace);
  fork(x.elements() * 8, [&](i32 part, i32 parts) {
    Share rows = share_of(x.rows(), part, parts);
    for (i64 r = rows.begin; r < rows.end; ++r) {
      quantize_activations(op.attributes.xq, x.data + r * x.cols(), x.cols(),
                           rounded + r * x.cols());
    }
  });
  return rounded;
}

Int8Rounding Exec::int8_rounding(const BoundOp& op) {
  return int8_rounding_of(op.attributes.xq, op.in[1].form);
}

bool Exec::is_rounded_alike(const BoundOp& op) const {
  return rounded_ && rounded_->in[0].value == op.in[0].value &&
         rounded_->in[1].form == op.in[1].form && int8_rounding(*rounded_) == int8_rounding(op);
}

Int8Rows Exec::int8_activations(const BoundOp& op, const Tensor& x) {
  if (is_rounded_alike(op)) return rounded_rows_;
  QuantizeArgs args{.form = op.in[1].form,
                    .x = x.data,
                    .tokens = x.rows(),
                    .k = x.cols(),
                    .x_stride = x.cols(),
                    .whole_rows = int8_rounding(op) == Int8Rounding::kRow,
                    .rows = int8_rows_at(memory_.workspace, x.rows(), x.cols())};
  call(kernels_.quantize, args, x.elements() * 2);
  rounded_ = &op;
  rounded_rows_ = args.rows;
  return args.rows;
}

bool Exec::is_split(const BoundOp& op) const {
  return kernels_.split && op.in[1].form == PanelForm::kBf16 &&
         op.attributes.xq == isa::ActivationQuant::kNone;
}

SplitRows Exec::split_activations(const Tensor& x) {
  SplitArgs args{.x = x.data,
                 .tokens = x.rows(),
                 .k = x.cols(),
                 .x_stride = x.cols(),
                 .rows = split_rows_at(memory_.workspace, x.rows())};
  call(kernels_.split, args, x.elements() * 2);
  return args.rows;
}

void Exec::run_linear(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  Tensor x = tensor(op.in[0]);
  bool is_int8 = int8_rounding(op) != Int8Rounding::kNone;
  LinearArgs args{.form = w.form,
                  .w = w.panels,
                  .x = is_int8 ? nullptr : activations(op, x),
                  .x8 = is_int8 ? int8_activations(op, x) : Int8Rows{},
                  .split = is_split(op) ? split_activations(x) : SplitRows{},
                  .bias = op.in.size() > 2 ? tensor(op.in[2]).data : nullptr,
                  .y = out.data,
                  .scratch = scratch(op),
                  .tokens = out.rows(),
                  .n = w.rows,
                  .k = w.columns,
                  .x_stride = w.columns,
                  .y_stride = w.rows};
  if (!is_int8) rounded_ = nullptr;
  call(kernels_.linear, args, args.tokens * args.n * args.k);
}

void Exec::run_route(const BoundOp& op, const Tensor& out) {
  PermLayout layout = perm_layout(plan_.flat.values[op.out[1]], step_.T);
  i32* perm = tensor(op.out[1]).ints();
  Tensor logits = tensor(op.in[0]);
  RouteArgs args{.attributes = op.attributes,
                 .logits = logits,
                 .bias = op.in.size() > 1 ? tensor(op.in[1]).data : nullptr,
                 .weights = out.data,
                 .ids = op.out.size() > 2 ? tensor(op.out[2]).ints() : nullptr,
                 .experts = perm,
                 .scratch = reinterpret_cast<f64*>(scratch(op))};
  call(route, args, logits.elements() * 16);
  u32* routes = reinterpret_cast<u32*>(memory_.output + plan_.routes_offset);
  routes[op.planned.route] = order_rows(layout, perm);
}

void Exec::run_grouped_linear(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  const isa::Type& type = plan_.flat.values[op.in[2].value];
  PermLayout layout = perm_layout(type, step_.T);
  const i32* perm = tensor(op.in[2]).ints();
  Tensor x = tensor(op.in[0]);
  Int8Rounding rounding = int8_rounding(op);
  f32* base = scratch(op);
  LinearArgs linear{.form = w.form,
                    .w = w.panels,
                    .bias = op.in.size() > 3 ? tensor(op.in[3]).data : nullptr,
                    .y = out.data,
                    .scratch = base,
                    .n = w.rows,
                    .k = w.columns,
                    .y_stride = w.rows};
  GroupedArgs args{.linear = linear,
                   .expert_bytes = w.matrix_bytes,
                   .experts = w.matrices,
                   .begin = perm + layout.begin(),
                   .order = perm + layout.order(),
                   .x = rounding == Int8Rounding::kNone ? activations(op, x) : x.data,
                   .ranks = out.rows() / x.rows(),
                   .rounding = rounding,
                   .rows = base + plan_.limits.threads * linear_scratch(w.columns)};
  call(kernels_.grouped, args, out.elements() * w.columns);
}

// With a weight a matrix per group: [T,G,K] or [T,1,K] to [T,G,N].
void Exec::run_bmm(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  if (w.kind != isa::OperandKind::kWeight) return run_plain_op(op, out);
  Tensor a = tensor(op.in[0]);
  i64 k = a.cols();
  i64 n = out.cols();
  LinearArgs linear{.form = w.form,
                    .w = w.panels,
                    .x = a.data,
                    .y = out.data,
                    .scratch = scratch(op),
                    .tokens = out.dims[0],
                    .n = n,
                    .k = k,
                    .x_stride = a.dims[1] * k,
                    .y_stride = out.dims[1] * n};
  BatchedArgs args{.linear = linear,
                   .group_bytes = w.matrix_bytes,
                   .groups = w.matrices,
                   .x_step = a.dims[1] == 1 ? 0 : k,
                   .y_step = n,
                   .transposed = op.attributes.trans != 0};
  call(kernels_.batched, args, out.elements() * k);
}

void Exec::run_embed(const BoundOp& op, const Tensor& out) {
  const Source& table = op.in[0];
  EmbedArgs args{.form = table.form,
                 .table = table.panels,
                 .ids = tensor(op.in[1]).ints(),
                 .y = out.data,
                 .tokens = out.dims[0],
                 .k = table.columns};
  call(kernels_.embed, args, out.elements() * kPanelRows);
}

void Exec::run_rms_norm(const BoundOp& op, const Tensor& out) {
  i64 group = op.attributes.group > 0 ? op.attributes.group : out.cols();
  bool has_weight = op.in.size() > 1;
  Tensor w = has_weight ? tensor(op.in[1]) : Tensor{};
  isa::DType type = plan_.flat.values[op.out[0]].dtype;
  bool rounds = op.attributes.cast_at == isa::NormCast::kBeforeWeight;
  RmsNormArgs args{.x = tensor(op.in[0]).data,
                   .w = has_weight ? w.data : nullptr,
                   .y = out.data,
                   .rows = out.elements() / group,
                   .group = group,
                   .w_groups = has_weight ? w.elements() / group : 1,
                   .eps = op.attributes.eps,
                   .woff = op.attributes.woff,
                   .round_bf16 = rounds && type == isa::DType::kBf16,
                   .round_f16 = rounds && type == isa::DType::kF16};
  call(kernels_.rms_norm, args, out.elements());
}

void Exec::run_binary(const BoundOp& op, const Tensor& out) {
  bool has_b = op.in.size() > 1;
  Tensor b = has_b ? tensor(op.in[1]) : Tensor{};
  BinaryArgs args{.a = tensor(op.in[0]).data,
                  .b = has_b ? b.data : nullptr,
                  .y = out.data,
                  .rows = out.rows(),
                  .n = out.cols(),
                  .b_rows = b.elements() == out.elements() ? out.rows() : 1,
                  .alpha = op.attributes.alpha,
                  .beta = op.attributes.beta,
                  .multiply = op.op == Opcode::kMul};
  call(kernels_.binary, args, out.elements());
}

// False for the activation that has no vector form.
bool Exec::run_glu(const BoundOp& op, const Tensor& out) {
  GluAct act = GluAct::kSilu;
  switch (op.attributes.act) {
    case isa::Activation::kSilu: act = GluAct::kSilu; break;
    case isa::Activation::kGeluTanh: act = GluAct::kGeluTanh; break;
    case isa::Activation::kRelu: act = GluAct::kRelu; break;
    case isa::Activation::kSwigluOai: act = GluAct::kSwigluOai; break;
    default: return false;
  }
  Tensor g = tensor(op.in[0]);
  bool packed = op.in.size() == 1;
  GluArgs args{.g = g.data,
               .u = packed ? g.data + out.cols() : tensor(op.in[1]).data,
               .y = out.data,
               .rows = out.rows(),
               .n = out.cols(),
               .stride = g.cols(),
               .alpha = op.attributes.alpha,
               .limit = op.attributes.limit,
               .act = act};
  call(kernels_.glu, args, out.elements() * 8);
  return true;
}

void Exec::run_rope(const BoundOp& op, const Tensor& out) {
  const RopeTable& table = plan_.tables[static_cast<std::size_t>(op.planned.rope_table)];
  i64 tokens = out.dims[0];
  f32* cos = reinterpret_cast<f32*>(memory_.activations + table.offset);
  f32* sin = cos + tokens * table.half;
  if (op.planned.fills_table) {
    RopeTableArgs args{.pos = tensor(op.in[1]).ints(),
                       .invf = tensor(op.in[2]).data + table.row * table.half,
                       .sections = table.sections,
                       .cos = cos,
                       .sin = sin,
                       .tokens = tokens,
                       .half = table.half,
                       .mscale = table.mscale};
    call(fill_rope_table, args, tokens * table.half * 32);
  }
  i64 heads = op.attributes.heads;
  RopeArgs args{.x = tensor(op.in[0]).data,
                .cos = cos,
                .sin = sin,
                .y = out.data,
                .tokens = tokens,
                .heads = heads,
                .d = out.cols() / heads,
                .rot = op.attributes.rot,
                .offset = op.attributes.offset,
                .neox = op.attributes.style != isa::RopeStyle::kGptj};
  call(kernels_.rope, args, out.elements());
}

void Exec::run_kv_append(const BoundOp& op) {
  Tensor k = tensor(op.in[1]);
  const KvPages& kv = kv_[op.in[0].kv];
  bool has_value = op.in.size() == 4;
  KvAppendArgs args{.kv = kv,
                    .batch = batch_,
                    .k = k.data,
                    .v = has_value ? tensor(op.in[2]).data : nullptr,
                    .tokens = k.dims[0]};
  bool is_plain_f16 = kv.format == KvFormat::kF16 && has_value;
  call(is_plain_f16 ? kernels_.kv_append_f16 : kv_append, args, k.elements() * 2);
}

static AttentionMask mask_of(isa::Mask mask) {
  switch (mask) {
    case isa::Mask::kCausal: return AttentionMask::kCausal;
    case isa::Mask::kFull: return AttentionMask::kFull;
    case isa::Mask::kTree: return AttentionMask::kTree;
  }
  TG_ASSERT(false);
}

i64 Exec::attention_segments(const KvPages& kv, i64 tokens) const {
  if (pool_.threads() == 1 || tokens * kv.heads >= kItemsPerThread * pool_.threads()) return 0;
  i64 longest = 0;
  for (u32 s = 0; s < step_.S; ++s) {
    longest = std::max<i64>(longest, batch_.past[s] + batch_.cu[s + 1] - batch_.cu[s]);
  }
  i64 segments = (longest + kSegmentKeys - 1) / kSegmentKeys;
  return segments > 1 ? segments : 0;
}

void Exec::run_attention(const BoundOp& op, const Tensor& out) {
  const KvPages& kv = kv_[op.in[1].kv];
  AttentionArgs args{.kv = kv,
                     .batch = batch_,
                     .q = tensor(op.in[0]).data,
                     .sinks = op.in.size() > 3 ? tensor(op.in[3]).data : nullptr,
                     .y = out.data,
                     .tokens = out.dims[0],
                     .heads = op.attributes.heads,
                     .window = op.attributes.window,
                     .scale = op.attributes.scale,
                     .softcap = op.attributes.softcap,
                     .mask = mask_of(op.attributes.mask),
                     .paths = reinterpret_cast<i32*>(scratch(op)),
                     .paths_stride = plan_.limits.tokens,
                     .segments = attention_segments(kv, out.dims[0])};
  bool is_tree = op.attributes.mask == isa::Mask::kTree;
  i64 path_words = is_tree ? pool_.threads() * plan_.limits.tokens : 0;
  if (args.segments > 0) args.sums = scratch(op) + path_words;
  call(kernels_.attention, args, out.elements() * step_.bound_context);
  if (args.sums) call(kernels_.attention_join, args, out.elements() * args.segments);
}

void Exec::run_attention_dense(const BoundOp& op, const Tensor& out) {
  Tensor q = tensor(op.in[0]);
  i64 heads = op.attributes.heads;
  i64 rows_each_sequence = rows_each(op.in[0].value);
  DenseAttentionArgs args{.batch = batch_,
                          .q = q.data,
                          .k = tensor(op.in[1]).data,
                          .v = tensor(op.in[2]).data,
                          .y = out.data,
                          .rows = q.dims[0],
                          .heads = heads,
                          .kv_heads = op.attributes.kv_heads,
                          .dk = q.cols() / heads,
                          .dv = out.cols() / heads,
                          .rows_each = rows_each_sequence,
                          .window = op.attributes.window,
                          .scale = op.attributes.scale,
                          .softcap = op.attributes.softcap,
                          .causal = op.attributes.mask == isa::Mask::kCausal};
  call(kernels_.attention_dense, args, out.elements() * q.dims[0]);
}

void Exec::run_pool(const BoundOp& op, const Tensor& out) {
  PoolArgs args{.attributes = op.attributes,
                .x = tensor(op.in[0]),
                .out = out,
                .first = batch_.cu,
                .rows_each = rows_each(op.in[0].value)};
  call(pool_rows, args, args.x.elements());
}

Samples Exec::samples() const {
  const u8* block = memory_.params + step_.params;
  return {.rows = reinterpret_cast<const tg_sample_row*>(block + samples_offset_),
          .lists = reinterpret_cast<const u32*>(block + lists_offset_)};
}

void Exec::run_logits(const BoundOp& op, const Tensor& out) {
  FilterArgs args{.samples = samples(),
                  .x = tensor(op.in[0]),
                  .y = out,
                  .scratch = reinterpret_cast<u32*>(scratch(op))};
  call(filter_logits, args, out.elements() * 64);
}

void Exec::run_sample(const BoundOp& op, const Tensor& out) {
  bool has_top = op.out.size() > 2;
  SampleArgs args{.samples = samples(),
                  .x = tensor(op.in[0]),
                  .ids = reinterpret_cast<i32*>(out.data),
                  .logprobs = tensor(op.out[1]).data,
                  .top_n = has_top ? tensor(op.out[2]).cols() : 0,
                  .top_ids = has_top ? tensor(op.out[2]).ints() : nullptr,
                  .top_logprobs = has_top ? tensor(op.out[3]).data : nullptr};
  call(sample_rows, args, args.x.elements() * 64);
}

void Exec::run_verify(const BoundOp& op, const Tensor& out) {
  VerifyArgs args{.samples = samples(),
                  .batch = batch_,
                  .p = tensor(op.in[0]),
                  .q = op.in.size() > 5 ? tensor(op.in[5]).data : nullptr,
                  .ids = tensor(op.in[1]).ints(),
                  .rows = tensor(op.in[2]).ints(),
                  .sequences = step_.S,
                  .accepted = reinterpret_cast<i32*>(out.data),
                  .tokens = tensor(op.out[1]).ints(),
                  .taken = op.out.size() > 2 ? tensor(op.out[2]).ints() : nullptr,
                  .scratch = reinterpret_cast<u32*>(scratch(op))};
  if (args.taken) std::fill_n(args.taken, args.p.rows(), 0);
  call(verify_proposals, args, args.p.elements() * 64);
}

void Exec::run_plain_op(const BoundOp& op, const Tensor& out) {
  Tensor in[isa::kOperandsMax];
  for (std::size_t i = 0; i < op.in.size(); ++i) in[i] = tensor(op.in[i]);
  PlainArgs args{.attributes = op.attributes, .in = {in, op.in.size()}, .out = out};
  fork(std::max(in[0].elements(), out.elements()) * 8,
       [&](i32 part, i32 parts) { TG_ASSERT(run_plain(op.op, args, part, parts)); });
}

}  // namespace tg::backend::cpu
