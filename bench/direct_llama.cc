#include "bench/direct_llama.h"

#include <algorithm>
#include <string>

#include "backend/cpu/activation_quant.h"
#include "backend/cpu/calls.h"
#include "backend/cpu/kv_store.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/scratch.h"
#include "backend/cpu/variant.h"
#include "base/assert.h"
#include "isa/codec.h"

namespace tg {

using namespace backend::cpu;
using isa::Opcode;
using isa::OperandKind;

// The smallest pages there are.
static constexpr i64 kPageTokensLeast = 16;

// ---- the step

template <typename Args>
inline void DirectLlama::call(Kernel<Args> kernel, const Args& args, i64 work) {
  if (work < kForkWork || pool_.threads() == 1) return kernel(args, 0, 1);
  pool_.run([&](i32 part, i32 parts) { kernel(args, part, parts); }, pool_.threads());
}

std::span<const f32> DirectLlama::step(i32 id, i32 past) {
  id_ = id;
  past_ = position_ = slot_ = past;  // page p holds keys p * page_tokens and on
  page_begin_[1] = static_cast<i32>(past / page_tokens_ + 1);
  call(kernels_->embed, embed_, embed_.k * kPanelRows);
  // The angles are the same in all layers, and the first to turn anything is the first one's q:
  // their place in the order makes no difference.
  call(kernel<fill_rope_table>, table_, table_.half * 32);
  for (const Layer& layer : layers_) run_layer(layer);
  call(kernel<run_plain>, *gather_, norm_.group * 8);
  call(kernels_->rms_norm, norm_, norm_.group);
  call(kernels_->quantize, codes_, codes_.k * 2);
  product(head_);
  return {head_.y, static_cast<std::size_t>(head_.n)};
}

void DirectLlama::run_layer(const Layer& l) {
  call(kernels_->rms_norm, l.norm1, l.norm1.group);
  call(kernels_->quantize, l.codes1, l.codes1.k * 2);
  product(l.q);
  product(l.k);
  product(l.v);
  call(kernels_->rope, l.rope_q, l.q.n);
  call(kernels_->rope, l.rope_k, l.k.n);
  call(kernels_->kv_append_f16, l.append, l.k.n * 2);
  call(kernels_->attention, l.attention, l.q.n * (past_ + 1));
  call(kernels_->quantize, l.codes_a, l.codes_a.k * 2);
  product(l.o);
  call(kernels_->binary, l.add1, l.add1.n);
  call(kernels_->rms_norm, l.norm2, l.norm2.group);
  call(kernels_->quantize, l.codes2, l.codes2.k * 2);
  product(l.g);
  product(l.u);
  call(kernels_->glu, l.glu, l.glu.n * 8);
  call(kernels_->quantize, l.codes_s, l.codes_s.k * 2);
  product(l.d);
  call(kernels_->binary, l.add2, l.add2.n);
}

// ---- its arguments

// Reads sizes, numbers and weights off the program's unrolled code, op by op in a llama's order.
class DirectLlama::Maker {
 public:
  Maker(const BoundMemory& memory, DirectLlama& out)
      : plan_(*memory.plan), program_(plan_.program.program()), memory_(memory), out_(out) {}

  Status make(i64 context_max) {
    code_ = plan_.flat.code;
    out_.kernels_ = supported_variants()[0];
    for (i64 p = 0; p * kPageTokensLeast < context_max; ++p)
      out_.pages_.push_back(static_cast<i32>(p));
    batch_ = {.cu = out_.cu_,
              .past = &out_.past_,
              .page_begin = out_.page_begin_,
              .pages = out_.pages_.data(),
              .slots = &out_.slot_,
              .tree = &out_.tree_,
              .sequence_of = &out_.sequence_};
    TG_TRY(make_embed());
    make_table();
    while (at_ < code_.size() && code_[at_].op == Opcode::kRmsNorm) TG_TRY(make_layer());
    TG_TRY(make_head());
    return at_ == code_.size() ? Status() : Error{Code::kUnsupported, "direct: ops are left over"};
  }

 private:
  Result<const isa::FlatInstruction*> next(Opcode op) {
    if (at_ < code_.size() && code_[at_].op == op) return &code_[at_++];
    std::string found = at_ < code_.size() ? std::string(isa::name(code_[at_].op)) : "the end";
    return Error{Code::kUnsupported, "direct: op " + std::to_string(at_) + " is " + found +
                                         ", not " + std::string(isa::name(op))};
  }

  // Where the executor has the op's result.
  f32* result(const isa::FlatInstruction& op) const {
    const Place& place = plan_.places[op.out[0]];
    TG_ASSERT(place.home == Home::kActivations || place.home == Home::kOutput);
    u8* base = place.home == Home::kOutput ? memory_.output : memory_.activations;
    return reinterpret_cast<f32*>(base + place.offset);
  }

  const u8* packed(const isa::FlatOperand& w) const {
    for (const tg_wplace& place : memory_.weight_places) {
      if (place.symbol == w.index && place.layer == w.layer) return memory_.weights + place.offset;
    }
    TG_ASSERT(false && "a weight in its place");
  }
  const f32* vector(const isa::FlatOperand& w) const {
    return reinterpret_cast<const f32*>(packed(w));
  }

  Status make_embed() {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kEmbed));
    const isa::WeightDecl& w = program_.weights[op->in[0].index];
    x_ = result(*op);
    out_.embed_ = {.form = panel_form(w.codec).value(),
                   .table = packed(op->in[0]),
                   .ids = &out_.id_,
                   .y = x_,
                   .tokens = 1,
                   .k = w.dims[1]};
    return {};
  }

  Result<RmsNormArgs> make_norm(const f32* x) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kRmsNorm));
    OpAttributes a = resolve_attributes(*op);
    i64 d = program_.weights[op->in[1].index].dims[0];
    return RmsNormArgs{.x = x,
                       .w = vector(op->in[1]),
                       .y = result(*op),
                       .rows = 1,
                       .group = d,
                       .w_groups = 1,
                       .eps = a.eps,
                       .woff = a.woff,
                       .round_bf16 = false,
                       .round_f16 = false};
  }

  // The codes for the products that follow.
  Result<QuantizeArgs> make_codes(const f32* x) {
    TG_ASSERT(at_ < code_.size());
    const isa::FlatInstruction& op = code_[at_];
    if (op.op != Opcode::kLinear) return Error{Code::kUnsupported, "direct: no product"};
    const isa::WeightDecl& w = program_.weights[op.in[1].index];
    PanelForm form = panel_form(w.codec).value();
    Int8Rounding rounding = int8_rounding_of(resolve_attributes(op).xq, form);
    if (rounding == Int8Rounding::kNone) {
      return Error{Code::kUnsupported, "direct: a product without int8 activations"};
    }
    i64 k = w.dims[1];
    return QuantizeArgs{.form = form,
                        .x = x,
                        .tokens = 1,
                        .k = k,
                        .x_stride = k,
                        .whole_rows = rounding == Int8Rounding::kRow,
                        .rows = int8_rows_at(memory_.workspace, 1, k)};
  }

  Result<LinearArgs> make_product(const QuantizeArgs& codes) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kLinear));
    const isa::WeightDecl& w = program_.weights[op->in[1].index];
    if (panel_form(w.codec) != codes.form) {
      return Error{Code::kUnsupported, "direct: products of one input by weights of two codecs"};
    }
    i64 n = w.dims[0];
    i64 k = w.dims[1];
    return LinearArgs{
        .form = codes.form,
        .w = packed(op->in[1]),
        .x = nullptr,
        .x8 = codes.rows,
        .split = {},
        .bias = op->in.size() > 2 ? vector(op->in[2]) : nullptr,
        .y = result(*op),
        .scratch = reinterpret_cast<f32*>(memory_.workspace + scratch_of(plan_, *op).shared),
        .tokens = 1,
        .n = n,
        .k = k,
        .x_stride = k,
        .y_stride = n,
        .y_rows = nullptr};
  }

  // The first rope's is all ropes'.
  void make_table() {
    auto is_rope = [](const isa::FlatInstruction& op) { return op.op == Opcode::kRope; };
    auto found = std::find_if(code_.begin(), code_.end(), is_rope);
    if (found == code_.end()) return;
    const isa::FlatInstruction& op = *found;
    OpAttributes a = resolve_attributes(op);
    i64 half = a.rot / 2;
    const f32* invf = nullptr;
    if (op.in[2].kind == OperandKind::kConst) {
      const isa::ConstDecl& constant = program_.constants[op.in[2].index];
      i64 n = 1;
      for (i64 dim : constant.dims) n *= dim;
      out_.invf_.resize(static_cast<std::size_t>(n));
      isa::dequantize_row(constant.dtype, constant.bytes, out_.invf_);
      invf = out_.invf_.data();
    } else {
      invf = vector(op.in[2]);
    }
    const PlannedOp& planned = plan_.ops[static_cast<std::size_t>(found - code_.begin())];
    i64 offset = plan_.tables[static_cast<std::size_t>(planned.rope_table)].offset;
    f32* angles = reinterpret_cast<f32*>(memory_.activations + offset);
    out_.table_ = {.pos = &out_.position_,
                   .invf = invf + a.table * half,
                   .sections = {},
                   .cos = angles,
                   .sin = angles + half,
                   .tokens = 1,
                   .half = half,
                   .mscale = a.mscale};
  }

  Result<RopeArgs> make_rope(const f32* x, i64 n) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kRope));
    OpAttributes a = resolve_attributes(*op);
    return RopeArgs{.x = x,
                    .cos = out_.table_.cos,
                    .sin = out_.table_.sin,
                    .y = result(*op),
                    .tokens = 1,
                    .heads = a.heads,
                    .d = n / a.heads,
                    .rot = a.rot,
                    .offset = a.offset,
                    .neox = a.style == isa::RopeStyle::kNeox};
  }

  KvPages pages_of(const isa::FlatOperand& operand) {
    const isa::KvDecl& kv = program_.kv[operand.index];
    out_.page_tokens_ = kv.page_tokens;
    for (const tg_kvplace& place : memory_.kv_places) {
      if (place.symbol != operand.index || place.layer != operand.layer) continue;
      return {.base = memory_.kv + place.offset,
              .page_bytes = static_cast<i64>(place.page_bytes),
              .page_tokens = kv.page_tokens,
              .heads = kv.heads,
              .dk = kv.dk,
              .dv = kv.dv,
              .latent = kv.latent,
              .format = kv_format(kv.format).value()};
    }
    TG_ASSERT(false && "a cache in its place");
  }

  // Takes attn after kv_append.
  Result<AttentionArgs> make_attention(const KvAppendArgs& append, const f32* q) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kAttn));
    OpAttributes a = resolve_attributes(*op);
    if (a.mask != isa::Mask::kCausal || op->in.size() > 3) {
      return Error{Code::kUnsupported, "direct: another attention than a llama's"};
    }
    return AttentionArgs{.kv = append.kv,
                         .batch = batch_,
                         .q = q,
                         .sinks = nullptr,
                         .y = result(*op),
                         .tokens = 1,
                         .heads = a.heads,
                         .window = a.window,
                         .scale = a.scale,
                         .softcap = a.softcap,
                         .mask = AttentionMask::kCausal,
                         .paths = nullptr,
                         .paths_stride = 0,
                         .sums = nullptr,
                         .segments = 0};
  }

  Result<BinaryArgs> make_add(const f32* a, const f32* b, i64 n) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kAdd));
    OpAttributes attributes = resolve_attributes(*op);
    return BinaryArgs{.a = a,
                      .b = b,
                      .y = result(*op),
                      .rows = 1,
                      .n = n,
                      .b_rows = 1,
                      .alpha = attributes.alpha,
                      .beta = attributes.beta,
                      .multiply = false};
  }

  Result<GluArgs> make_glu(const LinearArgs& g, const LinearArgs& u) {
    TG_ASSIGN(const isa::FlatInstruction* op, next(Opcode::kGlu));
    OpAttributes a = resolve_attributes(*op);
    if (a.act != isa::Activation::kSilu) return Error{Code::kUnsupported, "direct: not silu"};
    return GluArgs{.g = g.y,
                   .u = u.y,
                   .y = result(*op),
                   .rows = 1,
                   .n = g.n,
                   .stride = g.n,
                   .alpha = a.alpha,
                   .limit = a.limit,
                   .act = GluAct::kSilu};
  }

  Status make_layer() {
    Layer l{};
    TG_TRY(make_attention_block(l));
    TG_TRY(make_feed_forward(l));
    x_ = l.add2.y;
    out_.layers_.push_back(l);
    return {};
  }

  Status make_attention_block(Layer& l) {
    TG_ASSIGN(l.norm1, make_norm(x_));
    TG_ASSIGN(l.codes1, make_codes(l.norm1.y));
    TG_ASSIGN(l.q, make_product(l.codes1));
    TG_ASSIGN(l.k, make_product(l.codes1));
    TG_ASSIGN(l.v, make_product(l.codes1));
    TG_ASSIGN(l.rope_q, make_rope(l.q.y, l.q.n));
    TG_ASSIGN(l.rope_k, make_rope(l.k.y, l.k.n));
    TG_ASSIGN(const isa::FlatInstruction* append, next(Opcode::kKvAppend));
    l.append = {
        .kv = pages_of(append->in[0]), .batch = batch_, .k = l.rope_k.y, .v = l.v.y, .tokens = 1};
    if (l.append.kv.format != KvFormat::kF16 || append->in.size() != 4) {
      return Error{Code::kUnsupported, "direct: another cache than one of f16"};
    }
    TG_ASSIGN(l.attention, make_attention(l.append, l.rope_q.y));
    TG_ASSIGN(l.codes_a, make_codes(l.attention.y));
    TG_ASSIGN(l.o, make_product(l.codes_a));
    TG_ASSIGN(l.add1, make_add(x_, l.o.y, l.o.n));
    return {};
  }

  Status make_feed_forward(Layer& l) {
    TG_ASSIGN(l.norm2, make_norm(l.add1.y));
    TG_ASSIGN(l.codes2, make_codes(l.norm2.y));
    TG_ASSIGN(l.g, make_product(l.codes2));
    TG_ASSIGN(l.u, make_product(l.codes2));
    TG_ASSIGN(l.glu, make_glu(l.g, l.u));
    TG_ASSIGN(l.codes_s, make_codes(l.glu.y));
    TG_ASSIGN(l.d, make_product(l.codes_s));
    TG_ASSIGN(l.add2, make_add(l.add1.y, l.d.y, l.d.n));
    return {};
  }

  Status make_head() {
    TG_ASSIGN(const isa::FlatInstruction* gather, next(Opcode::kGather));
    i64 d = out_.embed_.k;
    out_.gathered_[0] = {.data = x_, .dims = {1, d}, .rank = 2};
    out_.gathered_[1] = {.data = reinterpret_cast<f32*>(&out_.row_), .dims = {1}, .rank = 1};
    out_.gather_ = std::make_unique<PlainArgs>(
        PlainArgs{.op = Opcode::kGather,
                  .attributes = out_.no_attributes_,
                  .in = out_.gathered_,
                  .out = {.data = result(*gather), .dims = {1, d}, .rank = 2}});
    TG_ASSIGN(out_.norm_, make_norm(out_.gather_->out.data));
    TG_ASSIGN(out_.codes_, make_codes(out_.norm_.y));
    TG_ASSIGN(out_.head_, make_product(out_.codes_));
    return {};
  }

  const Plan& plan_;
  const isa::Program& program_;
  const BoundMemory& memory_;
  DirectLlama& out_;
  std::span<const isa::FlatInstruction> code_;
  std::size_t at_ = 0;
  BatchView batch_{};
  f32* x_ = nullptr;  // what a layer takes up
};

Result<std::unique_ptr<DirectLlama>> DirectLlama::make(const BoundMemory& memory, i32 threads,
                                                       i64 context_max) {
  if (context_max > kSegmentKeys) {
    return Error{Code::kUnsupported, "direct: more keys than one thread's share of attention"};
  }
  TG_ASSERT(memory.plan);
  std::unique_ptr<DirectLlama> out(new DirectLlama(threads));
  TG_TRY(Maker(memory, *out).make(context_max));
  return out;
}

}  // namespace tg
