#include "isa/cost/cost.h"

#include <algorithm>

#include "base/assert.h"
#include "base/checked.h"
#include "isa/ew.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

namespace {

using unit::CostMatrix;
using unit::Counter;
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
              [](const WindowCost& a, const WindowCost& b) { return a.window < b.window; });
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
      case ActivationQuant::kNone: break;
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

  void bmm(const OpView& op) {
    const Type a = op.in(0);
    const Type b = op.in(1);
    Dim work[] = {a.dims[0], a.dims[1], a.dims[2], b.dims[1]};
    count(product_class(b.dtype, ActivationQuant::kNone), elements(work) * 2);
    if (op.is_weight(1)) weight_bytes(a.dims[1], stored_bytes(b));
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

  WindowCost& window(i64 value) {
    for (WindowCost& w : matrix_.windows) {
      if (w.window == value) return w;
    }
    matrix_.windows.push_back({.window = value});
    return matrix_.windows.back();
  }

  // A cycle's entry i governs the turns i, i+n, i+2n, ... of the loop.
  void attn(const OpView& op) {
    const KvDecl& kv = op.kv(1);
    u128 heads = op.word(AttributeKey::kHeads);
    std::span<const u32> cycle = op.words(AttributeKey::kWindow);
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      if (i >= turns_) break;
      u128 turns = (turns_ - i + cycle.size() - 1) / cycle.size();
      WindowCost& w = window(cycle[i]);
      accumulate(w.attn_flops_per_pair, times(2 * heads * (u128{kv.dk} + kv.dv), turns));
      accumulate(w.ew_flops_per_pair, times(5 * heads, turns));
      accumulate(w.kv_rd_bytes_per_key, times(kv_row_bytes(kv), turns));
    }
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
      case Opcode::kCast:
      case Opcode::kCount: return;
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
};

}  // namespace

Result<unit::CostMatrix> derive_cost(const Program& program) {
  TG_ASSERT(program.functions.size() == 1);
  return Costing(program).run(program.functions[0]);
}

}  // namespace tg::isa
