#include "backend/cpu/exec.h"

#include <algorithm>

#include "backend/cpu/pack.h"
#include "backend/weight_uses.h"
#include "base/assert.h"
#include "isa/limits.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;
using isa::OperandKind;

// Element operations below which a region costs more to fork than it saves.
constexpr i64 kForkWork = 131'072;

const tg_wplace& find_weight(const tg_bindings& bindings, const isa::FlatOperand& operand) {
  const tg_wplace* end = bindings.weight_places + bindings.n_weights;
  const tg_wplace* found =
      std::find_if(bindings.weight_places, end, [&operand](const tg_wplace& place) {
        return place.symbol == operand.index && place.layer == operand.layer;
      });
  TG_ASSERT(found != end);
  return *found;
}

template <typename Dims>
Tensor table_of(const f32* data, const Dims& dims) {
  Tensor table{.data = const_cast<f32*>(data), .rank = static_cast<i32>(dims.size())};
  std::copy(dims.begin(), dims.end(), table.dims);
  return table;
}

}  // namespace

Exec::Exec(const Plan& plan, const Kernels& kernels, const Memory& memory,
           const tg_bindings& bindings)
    : plan_(plan),
      kernels_(kernels),
      memory_(memory),
      layout_(bindings.layout),
      pool_(plan.limits.threads),
      sequence_of_(static_cast<std::size_t>(plan.limits.tokens)) {
  for (std::size_t i = 0; i < plan.flat.code.size(); ++i) {
    const isa::FlatInstruction& from = plan.flat.code[i];
    BoundOp& op = ops_.emplace_back();
    op.op = from.op;
    op.attributes = resolve_attributes(from);
    op.planned = plan.ops[i];
    op.has_out = !from.out.empty();
    if (op.has_out) op.out = from.out[0];
    for (std::size_t j = 0; j < from.in.size(); ++j) {
      op.in.push_back(bind_operand(from.op, j, from.in[j], bindings));
    }
  }
}

Exec::Source Exec::bind_operand(Opcode op, std::size_t index, const isa::FlatOperand& operand,
                                const tg_bindings& bindings) {
  switch (operand.kind) {
    case OperandKind::kValue: return {.value = operand.index};
    case OperandKind::kWeight: return bind_weight(op, index, operand, bindings);
    case OperandKind::kConst:
      return {.kind = OperandKind::kConst,
              .table = table_of(plan_.constants[operand.index].data(),
                                plan_.program.program().constants[operand.index].dims)};
    case OperandKind::kKv: return {.kind = OperandKind::kKv, .kv = bind_kv(operand, bindings)};
  }
  TG_ASSERT(false);
}

// A weight read both ways is packed both ways: panels first, then the vector.
Exec::Source Exec::bind_weight(Opcode op, std::size_t index, const isa::FlatOperand& operand,
                               const tg_bindings& bindings) const {
  const isa::WeightDecl& weight = plan_.program.program().weights[operand.index];
  const u8* packed = memory_.weights + find_weight(bindings, operand).offset;
  constexpr u16 kAsPanels = TG_USE_MATRIX | TG_USE_ROWS;
  u16 uses = plan_.uses[operand.index][operand.layer];
  Source source{.kind = OperandKind::kWeight};
  if (uses & kAsPanels) {
    source.form = panel_form(weight.codec).value();
    source.rows = weight.dims[0];
    source.columns = weight.dims[1];
    source.panels = packed;
    packed += aligned(panel_count(source.rows) * panel_bytes(source.form, source.columns));
  }
  if (!(weight_use(op, index) & kAsPanels)) {
    source.table = table_of(reinterpret_cast<const f32*>(packed), weight.dims);
  }
  return source;
}

u32 Exec::bind_kv(const isa::FlatOperand& operand, const tg_bindings& bindings) {
  const isa::KvDecl& kv = plan_.program.program().kv[operand.index];
  for (u32 i = 0; i < bindings.n_kv; ++i) {
    const tg_kvplace& place = bindings.kv_places[i];
    if (place.symbol != operand.index || place.layer != operand.layer) continue;
    kv_.push_back(KvPages{.base = memory_.kv + place.offset,
                          .page_bytes = static_cast<i64>(place.page_bytes),
                          .page_tokens = kv.page_tokens,
                          .heads = kv.heads,
                          .dk = kv.dk,
                          .dv = kv.dv});
    return static_cast<u32>(kv_.size() - 1);
  }
  TG_ASSERT(false);
}

const i32* Exec::param(u64 offset) const {
  return reinterpret_cast<const i32*>(memory_.params + step_.params + offset);
}

void Exec::start_step(const tg_step& step) {
  TG_ASSERT(step.T <= plan_.limits.tokens && step.S <= plan_.limits.sequences);
  TG_ASSERT(step.R <= plan_.limits.rows);
  step_ = step;
  batch_ = {.cu = param(layout_.cu),
            .past = param(layout_.past),
            .page_begin = param(layout_.page_begin),
            .pages = param(layout_.pages),
            .slots = param(layout_.slots),
            .sequence_of = sequence_of_.data()};
  for (u32 s = 0; s < step.S; ++s) {
    std::fill(sequence_of_.begin() + batch_.cu[s], sequence_of_.begin() + batch_.cu[s + 1],
              static_cast<i32>(s));
  }
}

Tensor Exec::tensor(u32 value) const {
  const isa::Type& type = plan_.flat.values[value];
  const Place& place = plan_.places[value];
  Tensor out{.rank = static_cast<i32>(type.dims.size())};
  for (std::size_t i = 0; i < type.dims.size(); ++i) {
    out.dims[i] = evaluate(type.dims[i], step_.T, step_.S, step_.R);
  }
  const void* data = nullptr;
  switch (place.home) {
    case Home::kActivations: data = memory_.activations + place.offset; break;
    case Home::kOutput: data = memory_.output + place.offset; break;
    case Home::kIds: data = param(layout_.ids); break;
    case Home::kPositions: data = param(layout_.pos); break;
    case Home::kRows: data = param(layout_.rows); break;
    case Home::kNone: break;
  }
  out.data = static_cast<f32*>(const_cast<void*>(data));
  return out;
}

Tensor Exec::tensor(const Source& source) const {
  return source.kind == OperandKind::kValue ? tensor(source.value) : source.table;
}

template <typename Body>
void Exec::fork(i64 work, const Body& body) {
  pool_.run(body, work < kForkWork ? 1 : pool_.threads());
}

template <typename Args>
void Exec::call(void (*kernel)(const Args&, i32, i32), const Args& args, i64 work) {
  fork(work, [kernel, &args](i32 part, i32 parts) { kernel(args, part, parts); });
}

void Exec::run(u32 first, u32 count, const tg_step& step) {
  start_step(step);
  for (u32 i = first; i < first + count; ++i) {
    if (!ops_[i].planned.is_alias) run_op(ops_[i]);
  }
}

void Exec::run_op(const BoundOp& op) {
  Tensor out = op.has_out ? tensor(op.out) : Tensor{};
  if (op.has_out && out.elements() == 0) return;
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
    default: run_plain_op(op, out); break;
  }
  if (!op.has_out) return;
  isa::DType type = plan_.flat.values[op.out].dtype;
  if (type != isa::DType::kF16 && type != isa::DType::kBf16) return;
  fork(out.elements(), [&](i32 part, i32 parts) { round_rows(type, out, part, parts); });
}

void Exec::run_linear(const BoundOp& op, const Tensor& out) {
  const Source& w = op.in[1];
  LinearArgs args{.form = w.form,
                  .w = w.panels,
                  .x = tensor(op.in[0]).data,
                  .bias = op.in.size() > 2 ? tensor(op.in[2]).data : nullptr,
                  .y = out.data,
                  .scratch = reinterpret_cast<f32*>(memory_.workspace),
                  .tokens = out.rows(),
                  .n = w.rows,
                  .k = w.columns};
  call(kernels_.linear, args, args.tokens * args.n * args.k);
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
  isa::DType type = plan_.flat.values[op.out].dtype;
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
                       .invf = tensor(op.in[2]).data,
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
                .neox = op.attributes.style == isa::RopeStyle::kNeox};
  call(kernels_.rope, args, out.elements());
}

void Exec::run_kv_append(const BoundOp& op) {
  Tensor k = tensor(op.in[1]);
  KvAppendArgs args{.kv = kv_[op.in[0].kv],
                    .batch = batch_,
                    .k = k.data,
                    .v = tensor(op.in[2]).data,
                    .tokens = k.dims[0]};
  call(kernels_.kv_append, args, k.elements() * 2);
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
                     .causal = op.attributes.mask == isa::Mask::kCausal};
  call(kernels_.attention, args, out.elements() * step_.bound_context);
}

void Exec::run_plain_op(const BoundOp& op, const Tensor& out) {
  Tensor in[isa::kOperandsMax];
  for (std::size_t i = 0; i < op.in.size(); ++i) in[i] = tensor(op.in[i]);
  PlainArgs args{.attributes = op.attributes, .in = {in, op.in.size()}, .out = out};
  fork(std::max(in[0].elements(), out.elements()) * 8,
       [&](i32 part, i32 parts) { TG_ASSERT(run_plain(op.op, args, part, parts)); });
}

}  // namespace tg::backend::cpu
