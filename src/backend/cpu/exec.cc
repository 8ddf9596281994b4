#include "backend/cpu/exec.h"

#include <algorithm>

#include "backend/cpu/kv_store.h"
#include "backend/cpu/pack.h"
#include "backend/weight_uses.h"
#include "base/assert.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;
using isa::OperandKind;

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
      tree_offset_(bindings.tree),
      samples_offset_(bindings.samples),
      lists_offset_(bindings.lists),
      pool_(plan.limits.threads),
      sequence_of_(static_cast<std::size_t>(plan.limits.tokens)),
      calls_(plan.flat.code.size()) {
  op_of_call_.reserve(calls_.calls_max());
  for (std::size_t i = 0; i < plan.flat.code.size(); ++i) {
    const isa::FlatInstruction& from = plan.flat.code[i];
    BoundOp& op = ops_.emplace_back();
    op.op = from.op;
    op.attributes = resolve_attributes(from);
    op.planned = plan.ops[i];
    op.out = from.out;
    op.scratch = scratch_of(plan, from);
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
  u16 uses = plan_.uses[operand.index][operand.layer];
  Source source{.kind = OperandKind::kWeight};
  if (uses & kUsesAsPanels) {
    std::size_t rank = weight.dims.size();
    source.form = panel_form(weight.codec).value();
    source.matrices = rank == 3 ? weight.dims[0] : 1;
    source.rows = weight.dims[rank - 2];
    source.columns = weight.dims[rank - 1];
    source.matrix_bytes = panel_count(source.rows) * panel_bytes(source.form, source.columns);
    source.panels = packed;
    packed += aligned(source.matrices * source.matrix_bytes);
  }
  if (!(weight_use(op, index) & kUsesAsPanels)) {
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
                          .dv = kv.dv,
                          .latent = kv.latent,
                          .format = kv_format(kv.format).value()});
    return static_cast<u32>(kv_.size() - 1);
  }
  TG_ASSERT(false);
}

const i32* Exec::param(u64 offset) const {
  return reinterpret_cast<const i32*>(memory_.params + shape_.params + offset);
}

Tensor Exec::tensor(u32 value) const {
  const isa::Type& type = plan_.flat.values[value];
  const Place& place = plan_.places[value];
  Tensor out{.rank = std::max(1, static_cast<i32>(type.dims.size()))};
  for (std::size_t i = 0; i < type.dims.size(); ++i) {
    out.dims[i] = evaluate(type.dims[i], shape_.tokens, shape_.sequences, shape_.rows);
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

BatchView Exec::batch_at(u64 params) const {
  auto array = [this, params](u64 offset) {
    return reinterpret_cast<const i32*>(memory_.params + params + offset);
  };
  return {.cu = array(layout_.cu),
          .past = array(layout_.past),
          .page_begin = array(layout_.page_begin),
          .pages = array(layout_.pages),
          .slots = array(layout_.slots),
          .tree = array(tree_offset_),
          .sequence_of = sequence_of_.data()};
}

void Exec::run(u32 first, u32 count, const tg_step& step) {
  TG_ASSERT(step.T <= plan_.limits.tokens && step.S <= plan_.limits.sequences);
  TG_ASSERT(step.R <= plan_.limits.rows);
  BatchView batch = batch_at(step.params);
  i64 longest = 0;
  for (u32 s = 0; s < step.S; ++s) {
    i32 fresh = batch.cu[s + 1] - batch.cu[s];
    std::fill_n(sequence_of_.begin() + batch.cu[s], fresh, static_cast<i32>(s));
    longest = std::max<i64>(longest, batch.past[s] + fresh);
  }
  Shape shape{.first = first,
              .count = count,
              .tokens = step.T,
              .sequences = step.S,
              .rows = step.R,
              .params = step.params,
              .segments = (longest + kSegmentKeys - 1) / kSegmentKeys};
  if (shape != shape_) {
    shape_ = shape;
    batch_ = batch;
    list_calls();
  }
  if (is_timed_) {
    run_timed(step.bound_context);
  } else {
    calls_.run(pool_, step.bound_context);
  }
}

void Exec::run_timed(i64 context) {
  call_ns_.resize(calls_.calls().size());
  calls_.run_timed(pool_, context, call_ns_);
  std::fill_n(op_ns_.begin() + shape_.first, shape_.count, 0);
  for (std::size_t i = 0; i < call_ns_.size(); ++i) op_ns_[op_of_call_[i]] += call_ns_[i];
}

std::span<const u64> Exec::op_times() {
  is_timed_ = true;
  op_ns_.resize(ops_.size());
  return op_ns_;
}

void Exec::list_calls() {
  calls_.clear();
  op_of_call_.clear();
  rounded_ = nullptr;
  for (u32 i = shape_.first; i < shape_.first + shape_.count; ++i) {
    if (!ops_[i].planned.is_alias) list_op(ops_[i]);
    op_of_call_.resize(calls_.calls().size(), i);
  }
}

f32* Exec::scratch(const BoundOp& op) const {
  return reinterpret_cast<f32*>(memory_.workspace + op.scratch.shared);
}

i64 Exec::rows_each(u32 value) const {
  return plan_.flat.values[value].dims[0].s;
}

}  // namespace tg::backend::cpu
