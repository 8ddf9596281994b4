// One op of the list: its operands as the arguments of a kernel.
#include <algorithm>

#include "backend/cpu/activation_quant.h"
#include "backend/cpu/exec.h"
#include "backend/cpu/kv_store.h"
#include "backend/cpu/moe_ops.h"
#include "base/assert.h"
#include "isa/limits.h"

namespace tg::backend::cpu {

using isa::Opcode;

void Exec::list_op(const BoundOp& op) {
  Tensor out = op.out.empty() ? Tensor{} : tensor(op.out[0]);
  if (!op.out.empty() && out.elements() == 0) return;
  switch (op.op) {
    case Opcode::kLinear: list_linear(op, out); break;
    case Opcode::kEmbed: list_embed(op, out); break;
    case Opcode::kRmsNorm: list_rms_norm(op, out); break;
    case Opcode::kAdd:
    case Opcode::kMul: list_binary(op, out); break;
    case Opcode::kRope: list_rope(op, out); break;
    case Opcode::kKvAppend: list_kv_append(op); break;
    case Opcode::kAttn: list_attention(op, out); break;
    case Opcode::kGlu:
      if (!list_glu(op, out)) list_plain_op(op, out);
      break;
    default: list_profile_op(op, out); break;
  }
  round_results(op);
  if (op.op != Opcode::kLinear) rounded_ = nullptr;
}

void Exec::list_profile_op(const BoundOp& op, const Tensor& out) {
  switch (op.op) {
    case Opcode::kBmm: return list_bmm(op, out);
    case Opcode::kRoute: return list_route(op, out);
    case Opcode::kGroupedLinear: return list_grouped_linear(op, out);
    case Opcode::kAttnDense: return list_attention_dense(op, out);
    case Opcode::kPool: return list_pool(op, out);
    case Opcode::kLogits: return list_logits(op, out);
    case Opcode::kSample: return list_sample(op, out);
    case Opcode::kSpecVerify: return list_verify(op, out);
    case Opcode::kCombine: {
      CombineArgs args{.y = tensor(op.in[0]), .w = tensor(op.in[2]), .out = out};
      return calls_.add(kernel<combine>, args, args.y.elements());
    }
    default: return list_plain_op(op, out);
  }
}

void Exec::round_results(const BoundOp& op) {
  if (op.out.empty()) return;
  isa::DType type = plan_.flat.values[op.out[0]].dtype;
  if (type != isa::DType::kF16 && type != isa::DType::kBf16) return;
  Tensor out = tensor(op.out[0]);
  calls_.add(kernel<round_rows>, RoundArgs{.type = type, .out = out}, out.elements());
}

const f32* Exec::activations(const BoundOp& op, const Tensor& x) {
  if (op.attributes.xq == isa::ActivationQuant::kNone) return x.data;
  RoundedArgs args{.xq = op.attributes.xq,
                   .x = x.data,
                   .y = reinterpret_cast<f32*>(memory_.workspace),
                   .rows = x.rows(),
                   .k = x.cols()};
  calls_.add(kernel<round_activations>, args, x.elements() * 8);
  return args.y;
}

Int8Rounding Exec::int8_rounding(const BoundOp& op) {
  return int8_rounding_of(op.attributes.xq, op.in[1].form);
}

bool Exec::is_rounded_alike(const BoundOp& op) const {
  return rounded_ && rounded_->in[0].value == op.in[0].value &&
         rounded_->in[1].form == op.in[1].form && rounded_->attributes.xq == op.attributes.xq;
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
  calls_.add(kernels_.quantize, args, x.elements() * 2);
  rounded_ = &op;
  rounded_rows_ = args.rows;
  return args.rows;
}

bool Exec::is_split(const BoundOp& op) const {
  if (!kernels_.split.task || op.in[1].form != PanelForm::kBf16) return false;
  return op.attributes.xq == isa::ActivationQuant::kBf16 ||
         (op.attributes.xq == isa::ActivationQuant::kNone && kernels_.splits_f32);
}

SplitRows Exec::split_activations(const BoundOp& op, const Tensor& x) {
  if (is_rounded_alike(op)) return split_rows_;
  i64 each = op.attributes.xq == isa::ActivationQuant::kBf16 ? 1 : kSplitParts;
  SplitArgs args{.x = x.data,
                 .tokens = x.rows(),
                 .k = x.cols(),
                 .x_stride = x.cols(),
                 .rows = split_rows_at(memory_.workspace, x.rows(), each)};
  calls_.add(kernels_.split, args, x.elements() * 2);
  rounded_ = &op;
  split_rows_ = args.rows;
  return args.rows;
}

void Exec::list_linear(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  Tensor x = tensor(op.in[0]);
  bool is_int8 = int8_rounding(op) != Int8Rounding::kNone;
  bool in_bf16 = is_split(op);
  if (!is_int8 && !in_bf16) rounded_ = nullptr;
  LinearArgs args{.form = w.form,
                  .w = w.panels,
                  .x = is_int8 || in_bf16 ? nullptr : activations(op, x),
                  .x8 = is_int8 ? int8_activations(op, x) : Int8Rows{},
                  .split = in_bf16 ? split_activations(op, x) : SplitRows{},
                  .bias = op.in.size() > 2 ? tensor(op.in[2]).data : nullptr,
                  .y = out.data,
                  .scratch = scratch(op),
                  .tokens = out.rows(),
                  .n = w.rows,
                  .k = w.columns,
                  .x_stride = w.columns,
                  .y_stride = w.rows};
  calls_.add(in_bf16 ? kernels_.linear_split : kernels_.linear, args,
             args.tokens * args.n * args.k);
}

void Exec::list_route(const BoundOp& op, const Tensor& out) {
  PermLayout layout = perm_layout(plan_.flat.values[op.out[1]], shape_.tokens);
  i32* perm = tensor(op.out[1]).ints();
  Tensor logits = tensor(op.in[0]);
  RouteArgs args{.attributes = op.attributes,
                 .logits = logits,
                 .bias = op.in.size() > 1 ? tensor(op.in[1]).data : nullptr,
                 .weights = out.data,
                 .ids = op.out.size() > 2 ? tensor(op.out[2]).ints() : nullptr,
                 .experts = perm,
                 .scratch = reinterpret_cast<f64*>(scratch(op))};
  calls_.add(kernel<route>, args, logits.elements() * 16);
  u32* routes = reinterpret_cast<u32*>(memory_.output + plan_.routes_offset);
  OrderArgs order{.layout = layout, .perm = perm, .hits = routes + op.planned.route};
  calls_.add(kernel<order_rows>, order, 0);
}

void Exec::list_grouped_linear(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  const isa::Type& type = plan_.flat.values[op.in[2].value];
  PermLayout layout = perm_layout(type, shape_.tokens);
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
  calls_.add(kernels_.grouped, args, out.elements() * w.columns);
}

// With a weight a matrix per group: [T,G,K] or [T,1,K] to [T,G,N].
void Exec::list_bmm(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  if (w.kind != isa::OperandKind::kWeight) return list_plain_op(op, out);
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
  calls_.add(kernels_.batched, args, out.elements() * k);
}

void Exec::list_embed(const BoundOp& op, const Tensor& out) {
  const Source& table = op.in[0];
  EmbedArgs args{.form = table.form,
                 .table = table.panels,
                 .ids = tensor(op.in[1]).ints(),
                 .y = out.data,
                 .tokens = out.dims[0],
                 .k = table.columns};
  calls_.add(kernels_.embed, args, out.elements() * kPanelRows);
}

void Exec::list_rms_norm(const BoundOp& op, const Tensor& out) {
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
  calls_.add(kernels_.rms_norm, args, out.elements());
}

void Exec::list_binary(const BoundOp& op, const Tensor& out) {
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
  calls_.add(kernels_.binary, args, out.elements());
}

// False for the activation that has no vector form.
bool Exec::list_glu(const BoundOp& op, const Tensor& out) {
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
  calls_.add(kernels_.glu, args, out.elements() * 8);
  return true;
}

void Exec::list_rope(const BoundOp& op, const Tensor& out) {
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
    calls_.add(kernel<fill_rope_table>, args, tokens * table.half * 32);
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
  calls_.add(kernels_.rope, args, out.elements());
}

void Exec::list_kv_append(const BoundOp& op) {
  Tensor k = tensor(op.in[1]);
  const KvPages& kv = kv_[op.in[0].kv];
  bool has_value = op.in.size() == 4;
  KvAppendArgs args{.kv = kv,
                    .batch = batch_,
                    .k = k.data,
                    .v = has_value ? tensor(op.in[2]).data : nullptr,
                    .tokens = k.dims[0]};
  bool is_plain_f16 = kv.format == KvFormat::kF16 && has_value;
  calls_.add(is_plain_f16 ? kernels_.kv_append_f16 : kernel<kv_append>, args, k.elements() * 2);
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
  return shape_.segments > 1 ? shape_.segments : 0;
}

void Exec::list_attention(const BoundOp& op, const Tensor& out) {
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
  calls_.add(kernels_.attention, args, 0, out.elements());
  if (args.sums) calls_.add(kernels_.attention_join, args, out.elements() * args.segments);
}

void Exec::list_attention_dense(const BoundOp& op, const Tensor& out) {
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
  calls_.add(kernels_.attention_dense, args, out.elements() * q.dims[0]);
}

void Exec::list_pool(const BoundOp& op, const Tensor& out) {
  PoolArgs args{.attributes = op.attributes,
                .x = tensor(op.in[0]),
                .out = out,
                .first = batch_.cu,
                .rows_each = rows_each(op.in[0].value)};
  calls_.add(kernel<pool_rows>, args, args.x.elements());
}

Samples Exec::samples() const {
  const u8* block = memory_.params + shape_.params;
  return {.rows = reinterpret_cast<const tg_sample_row*>(block + samples_offset_),
          .lists = reinterpret_cast<const u32*>(block + lists_offset_)};
}

void Exec::list_logits(const BoundOp& op, const Tensor& out) {
  FilterArgs args{.samples = samples(),
                  .x = tensor(op.in[0]),
                  .y = out,
                  .scratch = reinterpret_cast<u32*>(scratch(op))};
  calls_.add(kernel<filter_logits>, args, out.elements() * 64);
}

void Exec::list_sample(const BoundOp& op, const Tensor& out) {
  bool has_top = op.out.size() > 2;
  SampleArgs args{.samples = samples(),
                  .x = tensor(op.in[0]),
                  .ids = reinterpret_cast<i32*>(out.data),
                  .logprobs = tensor(op.out[1]).data,
                  .top_n = has_top ? tensor(op.out[2]).cols() : 0,
                  .top_ids = has_top ? tensor(op.out[2]).ints() : nullptr,
                  .top_logprobs = has_top ? tensor(op.out[3]).data : nullptr};
  calls_.add(kernel<sample_rows>, args, args.x.elements() * 64);
}

void Exec::list_verify(const BoundOp& op, const Tensor& out) {
  VerifyArgs args{.samples = samples(),
                  .batch = batch_,
                  .p = tensor(op.in[0]),
                  .q = op.in.size() > 5 ? tensor(op.in[5]).data : nullptr,
                  .ids = tensor(op.in[1]).ints(),
                  .rows = tensor(op.in[2]).ints(),
                  .sequences = shape_.sequences,
                  .accepted = reinterpret_cast<i32*>(out.data),
                  .tokens = tensor(op.out[1]).ints(),
                  .taken = op.out.size() > 2 ? tensor(op.out[2]).ints() : nullptr,
                  .scratch = reinterpret_cast<u32*>(scratch(op))};
  if (args.taken) calls_.add(kernel<clear_taken>, args, args.p.rows());
  calls_.add(kernel<verify_proposals>, args, args.p.elements() * 64);
}

void Exec::list_plain_op(const BoundOp& op, const Tensor& out) {
  Tensor in[isa::kOperandsMax];
  for (std::size_t i = 0; i < op.in.size(); ++i) in[i] = tensor(op.in[i]);
  PlainArgs args{
      .op = op.op, .attributes = op.attributes, .in = calls_.keep({in, op.in.size()}), .out = out};
  calls_.add(kernel<run_plain>, args, std::max(in[0].elements(), out.elements()) * 8);
}

}  // namespace tg::backend::cpu
