#include "isa/cost/cost.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/assert.h"
#include "base/checked.h"
#include "isa/ew.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

namespace {

using unit::CostMatrix;
using unit::Counter;
using unit::PairKind;
using unit::WindowCost;

// Non-negative linear form over 1, T, S, R; saturates, so that overflow is seen at the end.
struct Form {
  u128 constant = 0;
  u128 t = 0;
  u128 s = 0;
  u128 r = 0;
};

constexpr u128 kSaturated = static_cast<u128>(1) << 100;

u128 times(u128 a, u128 b) {
  std::optional<u128> product = checked_mul(a, b);
  return product ? std::min(*product, kSaturated) : kSaturated;
}

Form operator*(const Form& f, u128 n) {
  return {times(f.constant, n), times(f.t, n), times(f.s, n), times(f.r, n)};
}

Form form_of(const Dim& dim) {
  return {static_cast<u128>(dim.constant), static_cast<u128>(dim.t), static_cast<u128>(dim.s),
          static_cast<u128>(dim.r)};
}

// Product of the dimensions; at most one of them is symbolic (V5).
Form elements(std::span<const Dim> dims) {
  Form product{.constant = 1};
  for (const Dim& d : dims) {
    bool is_constant = d.t == 0 && d.s == 0 && d.r == 0;
    if (is_constant) {
      product = product * static_cast<u128>(d.constant);
    } else {
      product = form_of(d) * product.constant;
    }
  }
  return product;
}

u128 stored_bytes(const Type& weight) {
  u128 bytes = static_cast<u128>(row_bytes(weight.dtype, weight.dims.back().constant));
  for (std::size_t i = 0; i + 1 < weight.dims.size(); ++i)
    bytes = times(bytes, static_cast<u128>(weight.dims[i].constant));
  return bytes;
}

// Rows that exist only where logits are asked for: their weights are the head's.
bool is_head(const Dim& rows) {
  return rows.r > 0 && rows.t == 0 && rows.s == 0 && rows.constant == 0;
}

class Costing {
 public:
  explicit Costing(const Program& program) : program_(program) {}

  Result<CostMatrix> run(const Function& function) {
    for (const Instruction& i : function.body) {
      if (i.op == Opcode::kYield) turns_ = 1;
      add(OpView(program_, function, i));
      if (i.op == Opcode::kRepeat)
        turns_ = OpView(program_, function, i).word(AttributeKey::kCount);
    }
    if (!fits_) return Error{Code::kLimit, "V17: a counter of the cost matrix exceeds 64 bits"};
    std::sort(matrix_.windows.begin(), matrix_.windows.end(),
              [](const WindowCost& a, const WindowCost& b) {
                return std::tie(a.window, a.kind) < std::tie(b.window, b.kind);
              });
    gather_experts();
    return matrix_;
  }

 private:
  void accumulate(u64& to, u128 amount) {
    u128 sum = to + std::min(amount, kSaturated);
    fits_ &= sum <= ~u64{0};
    to = static_cast<u64>(sum);
  }

  void count(Counter counter, const Form& form) {
    accumulate(matrix_.per_pass[counter], times(form.constant, turns_));
    accumulate(matrix_.per_token[counter], times(form.t, turns_));
    accumulate(matrix_.per_sequence[counter], times(form.s, turns_));
    accumulate(matrix_.per_row[counter], times(form.r, turns_));
  }

  void weight_bytes(const Dim& rows, u128 bytes) {
    u64& to = is_head(rows) ? matrix_.head_bytes : matrix_.per_pass[unit::kWBytes];
    accumulate(to, times(bytes, turns_));
  }

  static Counter product_class(DType weight, ActivationQuant xq) {
    switch (xq) {
      case ActivationQuant::kInt8Block32:
      case ActivationQuant::kInt8Token: return unit::kMmInt8;
      case ActivationQuant::kFp8Block128: return unit::kMmFp8;
      case ActivationQuant::kMxfp4: return unit::kMm4Bit;
      case ActivationQuant::kBf16:
      case ActivationQuant::kNone:
      case ActivationQuant::kCount: break;
    }
    return weight == DType::kF32 ? unit::kMmF32 : unit::kMmF16;
  }

  void embed(const OpView& op) {
    const Type table = op.in(0);
    u128 row = static_cast<u128>(row_bytes(table.dtype, table.dims[1].constant));
    count(unit::kIo, form_of(op.in(1).dims[0]) * row);
  }

  void linear(const OpView& op) {
    const Type w = op.in(1);
    const Dim rows = op.in(0).dims[0];
    u128 n = static_cast<u128>(w.dims[0].constant);
    u128 k = static_cast<u128>(w.dims[1].constant);
    ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
    count(product_class(w.dtype, xq), form_of(rows) * times(2 * n, k));
    if (op.has(2)) count(unit::kEw, form_of(rows) * n);
    weight_bytes(rows, stored_bytes(w));
  }

  // The experts of one route: what a hit reads, over all products with its perm.
  struct Routed {
    u32 experts = 0;
    u32 active = 0;
    u64 layers = 0;
    u64 bytes_per_expert = 0;
  };

  void route(const OpView& op) {
    const Type& perm = op.out(1);
    u128 experts = static_cast<u128>(perm.dims[2].constant);
    u128 active = static_cast<u128>(perm.dims[1].constant);
    count(unit::kEw, form_of(perm.dims[0]) * (4 * experts + active));
    routed_[op.instruction().out[1]] = {static_cast<u32>(experts), static_cast<u32>(active), turns_,
                                        0};
  }

  void grouped_linear(const OpView& op) {
    const Type w = op.in(1);
    const Dim rows = op.out(0).dims[0];
    u128 n = static_cast<u128>(w.dims[1].constant);
    u128 k = static_cast<u128>(w.dims[2].constant);
    ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
    count(product_class(w.dtype, xq), form_of(rows) * times(2 * n, k));
    if (op.has(3)) count(unit::kEw, form_of(rows) * n);
    u128 bytes = times(n, static_cast<u128>(row_bytes(w.dtype, w.dims[2].constant)));
    Routed& routed = routed_.at(op.operand(2).index);
    // A router before a loop orders the rows of all its turns.
    accumulate(routed.bytes_per_expert, times(bytes, turns_ / routed.layers));
  }

  // Layers alike in experts, active ones and bytes are one line of the matrix.
  void gather_experts() {
    std::map<std::tuple<u32, u32, u64>, u64> layers;
    for (const auto& [perm, r] : routed_) {
      if (r.bytes_per_expert > 0) layers[{r.experts, r.active, r.bytes_per_expert}] += r.layers;
    }
    for (const auto& [key, count] : layers) {
      matrix_.experts.push_back({.experts = std::get<0>(key),
                                 .active = std::get<1>(key),
                                 .layers = static_cast<u32>(count),
                                 .bytes_per_expert = std::get<2>(key)});
    }
  }

  void bmm(const OpView& op) {
    const Type a = op.in(0);
    const Type b = op.in(1);
    if (op.is_weight(1)) return bmm_weight(op);
    Dim work[] = {a.dims[0], a.dims[1], a.dims[2], b.dims[1]};
    count(product_class(b.dtype, ActivationQuant::kNone), elements(work) * 2);
  }

  void bmm_weight(const OpView& op) {
    const Type w = op.in(1);
    const Dim rows = op.in(0).dims[0];
    u128 product =
        static_cast<u128>(w.dims[0].constant) *
        times(static_cast<u128>(w.dims[1].constant), static_cast<u128>(w.dims[2].constant));
    count(product_class(w.dtype, ActivationQuant::kNone), form_of(rows) * times(2, product));
    weight_bytes(rows, stored_bytes(w));
  }

  // n operations for each element of operand 0.
  void per_element(const OpView& op, u128 n) { count(unit::kEw, elements(op.in(0).dims) * n); }

  void scaled(const OpView& op) {
    u128 n = op.operands() - 1;
    if (op.real(AttributeKey::kAlpha) != 1.0f) ++n;
    if (op.op() == Opcode::kAdd && op.real(AttributeKey::kBeta) != 1.0f) ++n;
    per_element(op, n);
  }

  void ew(const OpView& op) {
    Result<EwSummary> summary = check_ew(op.words(AttributeKey::kCode));
    TG_ASSERT(summary.ok());
    per_element(op, summary->arithmetic);
  }

  void rope(const OpView& op) {
    u128 rotated = u128{op.word(AttributeKey::kHeads)} * op.word(AttributeKey::kRot);
    count(unit::kEw, form_of(op.in(0).dims[0]) * (3 * rotated));
  }

  static u128 kv_row_bytes(const KvDecl& kv) {
    return u128{kv.heads} *
           static_cast<u128>(row_bytes(kv.format, kv.dk) + row_bytes(kv.format, kv.dv));
  }

  WindowCost& window(i64 value, PairKind kind) {
    for (WindowCost& w : matrix_.windows) {
      if (w.window == value && w.kind == kind) return w;
    }
    matrix_.windows.push_back({.window = value, .kind = kind});
    return matrix_.windows.back();
  }

  // What one layer adds for each attended pair and each distinct key.
  struct PerLayer {
    u128 attn_flops = 0;
    u128 ew_flops = 0;
    u128 kv_bytes = 0;
  };

  void add_pairs(i64 value, PairKind kind, const PerLayer& layer, u128 turns) {
    WindowCost& w = window(value, kind);
    accumulate(w.attn_flops_per_pair, times(layer.attn_flops, turns));
    accumulate(w.ew_flops_per_pair, times(layer.ew_flops, turns));
    accumulate(w.kv_rd_bytes_per_key, times(layer.kv_bytes, turns));
  }

  // A cycle's entry i governs the turns i, i+n, i+2n, ... of the loop.
  void add_cycle(std::span<const u32> cycle, PairKind kind, const PerLayer& layer) {
    for (std::size_t i = 0; i < cycle.size() && i < turns_; ++i)
      add_pairs(cycle[i], kind, layer, (turns_ - i + cycle.size() - 1) / cycle.size());
  }

  static PairKind pairs_of(Mask mask) {
    return mask == Mask::kFull   ? PairKind::kFull
           : mask == Mask::kTree ? PairKind::kTree
                                 : PairKind::kCausal;
  }

  void attn(const OpView& op) {
    const KvDecl& kv = op.kv(1);
    u128 heads = op.word(AttributeKey::kHeads);
    PerLayer layer{2 * heads * (u128{kv.dk} + kv.value_dim()), 5 * heads, kv_row_bytes(kv)};
    const Operand& end = op.operand(op.operands() - 1);
    bool selects = op.operands() > 3 && end.kind == OperandKind::kValue;
    if (selects)
      return add_pairs(op.in(op.operands() - 1).dims[1].constant, PairKind::kSelected, layer,
                       turns_);
    add_cycle(op.words(AttributeKey::kWindow),
              pairs_of(static_cast<Mask>(op.word(AttributeKey::kMask))), layer);
  }

  void attn_dense(const OpView& op) {
    u128 heads = op.word(AttributeKey::kHeads);
    u128 width = static_cast<u128>(op.in(0).dims[1].constant) +
                 static_cast<u128>(op.out(0).dims[1].constant);  // heads * (dk + dv)
    PerLayer layer{2 * width, 5 * heads, 0};
    const Dim rows = op.in(0).dims[0];
    bool is_full = op.word(AttributeKey::kMask) == static_cast<u32>(Mask::kFull);
    PairKind kind = is_full ? PairKind::kDense : PairKind::kCausal;
    std::span<const u32> cycle = op.words(AttributeKey::kWindow);
    if (rows.t == 1) return add_cycle(cycle, kind, layer);
    // The same n rows in every sequence: pairs are a constant of the sequence.
    for (std::size_t i = 0; i < cycle.size() && i < turns_; ++i) {
      u128 turns = (turns_ - i + cycle.size() - 1) / cycle.size();
      WindowCost one{.window = cycle[i], .kind = kind};
      u128 pairs = unit::attended_pairs(one, {.cached = 0, .fresh = rows.s});
      accumulate(matrix_.per_sequence[unit::kAttn], times(times(pairs, layer.attn_flops), turns));
      accumulate(matrix_.per_sequence[unit::kEw], times(times(pairs, layer.ew_flops), turns));
    }
  }

  void index(const OpView& op) {
    const KvDecl& kv = op.kv(1);
    u128 heads = op.word(AttributeKey::kHeads);
    add_pairs(0, PairKind::kCausal, {2 * heads * kv.dk, 3 * heads, kv_row_bytes(kv)}, turns_);
  }

  // Read and written once for each sequence of a pass.
  void state(const KvDecl& st) {
    u128 elements = u128{st.heads} * st.dk * st.dv;
    count(unit::kState, Form{.s = 2 * elements * static_cast<u128>(info(st.format).block_bytes)});
  }

  void conv_state(const OpView& op) {
    u128 width = static_cast<u128>(op.in(0).dims[1].constant);
    u128 taps = static_cast<u128>(op.in(1).dims[1].constant);
    count(unit::kEw, Form{.t = width * (2 * taps + (op.has(4) ? 1 : 0))});
    state(op.kv(2));
  }

  void scan(const OpView& op) {
    static constexpr u32 kFlops[] = {8, 8, 5, 6, 9};  // gdn, kda, gla, mamba2, rwkv7
    const KvDecl& st = op.kv(4);
    u128 factor = kFlops[op.word(AttributeKey::kRule)];
    count(unit::kAttn, Form{.t = factor * st.heads * st.dk * st.dv});
    state(st);
  }

  void collective(const OpView& op) {
    const Type x = op.in(0);
    const Type& y = op.out(0);
    u128 ranks = op.word(AttributeKey::kRanks);
    u128 size = static_cast<u128>(info(x.dtype).block_bytes);
    bool gathers = op.op() == Opcode::kAllGather;
    count(unit::kComm, elements(gathers ? y.dims : x.dims) * size);
    bool adds = op.op() == Opcode::kAllReduce || op.op() == Opcode::kReduceScatter;
    if (adds) count(unit::kEw, elements(y.dims) * (ranks - 1));
  }

  void conv2d(const OpView& op) {
    const Type w = op.in(1);
    const Type& y = op.out(0);
    count(product_class(w.dtype, ActivationQuant::kNone),
          elements(y.dims) * times(2, static_cast<u128>(w.dims[1].constant)));
    if (op.has(2)) count(unit::kEw, elements(y.dims));
    weight_bytes(y.dims[0], stored_bytes(w));
  }

  static u128 reduction_flops(Reduction kind) { return kind == Reduction::kSoftmax ? 5 : 1; }

  void sample(const OpView& op) {
    per_element(op, 3);
    count(unit::kIo, form_of(op.in(0).dims[0]) * 4);
  }

  void add(const OpView& op) {
    switch (op.op()) {
      case Opcode::kRepeat:
      case Opcode::kYield:
      case Opcode::kGather:
      case Opcode::kView:
      case Opcode::kConcat:
      case Opcode::kCast: return;
      case Opcode::kAllToAll:
      case Opcode::kAllReduce:
      case Opcode::kAllGather:
      case Opcode::kReduceScatter: return collective(op);
      case Opcode::kSplice:
      case Opcode::kPatchify:
      case Opcode::kPermute:
      case Opcode::kCount: return;
      case Opcode::kGroupedLinear: return grouped_linear(op);
      case Opcode::kRoute: return route(op);
      case Opcode::kCombine: return per_element(op, 2);
      case Opcode::kIndex: return index(op);
      case Opcode::kConvState: return conv_state(op);
      case Opcode::kScan: return scan(op);
      case Opcode::kSpecVerify: return per_element(op, 4);
      case Opcode::kAttnDense: return attn_dense(op);
      case Opcode::kPool: return per_element(op, 2);
      case Opcode::kConv2d: return conv2d(op);
      case Opcode::kPool2d: {
        u128 size = op.word(AttributeKey::kSize);
        return count(unit::kEw, elements(op.out(0).dims) * (size * size));
      }
      case Opcode::kInterp2d: return count(unit::kEw, elements(op.out(0).dims) * 8);
      case Opcode::kEmbed: return embed(op);
      case Opcode::kLinear: return linear(op);
      case Opcode::kBmm: return bmm(op);
      case Opcode::kRmsNorm: return per_element(op, 4);
      case Opcode::kLayerNorm: return per_element(op, 7);
      case Opcode::kAdd:
      case Opcode::kMul: return scaled(op);
      case Opcode::kGlu: return count(unit::kEw, elements(op.out(0).dims) * 5);
      case Opcode::kAct: return per_element(op, 4);
      case Opcode::kEw: return ew(op);
      case Opcode::kReduce:
        return per_element(
            op, reduction_flops(static_cast<Reduction>(op.word(AttributeKey::kReduction))));
      case Opcode::kRope: return rope(op);
      case Opcode::kKvAppend: return count(unit::kKvWr, Form{.t = kv_row_bytes(op.kv(0))});
      case Opcode::kAttn: return attn(op);
      case Opcode::kLogits: return per_element(op, 8);
      case Opcode::kSample: return sample(op);
    }
  }

  const Program& program_;
  CostMatrix matrix_;
  u64 turns_ = 1;  // of the loop around the current instruction
  bool fits_ = true;
  std::map<u32, Routed> routed_;  // by the perm's value id
};

}  // namespace

Result<unit::CostMatrix> derive_cost(const Program& program, const Function& function,
                                     RulesPassed) {
  return Costing(program).run(function);
}

}  // namespace tg::isa
