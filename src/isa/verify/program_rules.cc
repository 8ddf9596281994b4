// V10, V11, V13, V15, V16: the rules about the program as a whole: its entry, its cache discipline,
// and nothing without a use.
#include <string>
#include <vector>

#include "isa/expression.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

namespace {

bool has_profile(const Program& program, Profile profile) {
  return (program.profiles >> static_cast<u32>(profile) & 1) != 0;
}

Error wrong_parameter(const Function& f, std::size_t i, const Type& type, ValueKind expected,
                      std::string_view text) {
  return broken(type.kind == expected ? "V16" : "V11",
                "parameter " + value_label(f, f.parameters[i]) + " of " + f.name + " is " +
                    to_text(type) + ", expected " + std::string(text));
}

bool is_i32(const Type& type, const Dim& last, std::size_t rank_max) {
  return type.kind == ValueKind::kTensor && type.dtype == DType::kI32 && !type.dims.empty() &&
         type.dims.size() <= rank_max && type.dims.back() == last;
}

// [n,T], n = 2..4: one row of positions per rope section.
bool is_sectioned(const Type& pos) {
  const Dim& n = pos.dims[0];
  return pos.dims.size() == 1 ||
         (n.t == 0 && n.s == 0 && n.r == 0 && n.constant >= 2 && n.constant <= 4);
}

// (ids i32[T], pos i32[T] or [n,T], rows i32[R], batch[, params][, tensors])
Status check_signature(const Program& program, const Function& f) {
  std::size_t count = f.parameters.size();
  for (u32 id : f.parameters) {
    if (id >= f.value_types.size())
      return broken("V1", "parameter " + std::to_string(id) + " has no type");
  }
  bool vision = has_profile(program, Profile::kVision);
  if (count < 4 || (count > 5 && !vision) || static_cast<i64>(count) > kOperandsMax)
    return broken("V16", f.name + " takes (ids, pos, rows, batch[, params]), not " +
                             std::to_string(count) + " parameters");
  auto type = [&](std::size_t i) -> const Type& { return f.value_types[f.parameters[i]]; };
  const Dim t{.t = 1};
  if (!is_i32(type(0), t, 1)) return wrong_parameter(f, 0, type(0), ValueKind::kTensor, "i32[T]");
  if (!is_i32(type(1), t, vision ? 2 : 1) || !is_sectioned(type(1)))
    return wrong_parameter(f, 1, type(1), ValueKind::kTensor, "i32[T]");
  if (!is_i32(type(2), Dim{.r = 1}, 1))
    return wrong_parameter(f, 2, type(2), ValueKind::kTensor, "i32[R]");
  if (type(3).kind != ValueKind::kBatch)
    return wrong_parameter(f, 3, type(3), ValueKind::kBatch, "batch");
  for (std::size_t i = 4; i < count; ++i) {
    bool good = type(i).kind == (i == 4 ? ValueKind::kParams : ValueKind::kTensor) ||
                (vision && type(i).kind == ValueKind::kTensor);
    if (!good) return wrong_parameter(f, i, type(i), ValueKind::kParams, "params");
  }
  return {};
}

// Batch and params come in once and never leave: nothing makes one. Perms are route's (V13).
Status check_opaque(const Function& f) {
  for (std::size_t id = f.parameters.size(); id < f.value_types.size(); ++id) {
    ValueKind kind = f.value_types[id].kind;
    if (kind != ValueKind::kTensor && kind != ValueKind::kPerm)
      return broken("V11", value_label(f, static_cast<u32>(id)) + " is a second " +
                               to_text(f.value_types[id]));
  }
  return {};
}

Status same_signature(const Function& main, const Function& other) {
  bool same = other.parameters.size() == main.parameters.size() &&
              other.results.size() == main.results.size();
  for (std::size_t i = 0; same && i < main.parameters.size(); ++i)
    same = other.value_types[other.parameters[i]] == main.value_types[main.parameters[i]];
  for (std::size_t i = 0; same && i < main.results.size(); ++i) {
    u32 a = main.results[i];
    u32 b = other.results[i];
    same = a < main.value_types.size() && b < other.value_types.size() &&
           main.value_types[a] == other.value_types[b];
  }
  if (!same) return broken("V16", other.name + " does not have main's signature");
  return {};
}

}  // namespace

// main serves every step; one more function may serve those with nothing cached. The predicates are
// disjoint and total because main has none.
Status check_entries(const Program& program) {
  if (program.functions.empty() || program.functions[0].name != "main" ||
      program.functions[0].when_fresh)
    return broken("V16", "the first function is main, without a predicate");
  if (program.functions.size() > 2)
    return broken("V16", std::to_string(program.functions.size()) +
                             " functions, expected main and at most one more");
  for (const Function& f : program.functions) {
    TG_TRY(check_signature(program, f));
    TG_TRY(check_opaque(f));
  }
  if (program.functions.size() == 1) return {};
  const Function& other = program.functions[1];
  if (other.name == "main" || !other.when_fresh)
    return broken("V16", other.name + " has no predicate of its own: expected when past=0");
  return same_signature(program.functions[0], other);
}

namespace {

// Which route ordered the rows of each value: the perm's id, or none.
class RoutedRows {
 public:
  RoutedRows(const Program& program, const Function& function)
      : program_(program), function_(function), perm_of_(function.value_types.size(), kNone) {}

  Status run() {
    for (const Instruction& i : function_.body) TG_TRY(step(OpView(program_, function_, i)));
    return {};
  }

 private:
  static constexpr u32 kNone = ~0u;

  Status step(const OpView& op) {
    const Instruction& i = op.instruction();
    switch (op.op()) {
      case Opcode::kRepeat:
      case Opcode::kYield: return carried(op);
      case Opcode::kGroupedLinear:
        TG_TRY(same_route(op, 0, 2));
        perm_of_[i.out[0]] = i.in[2].index;
        return {};
      case Opcode::kCombine: return same_route(op, 0, 1);
      default: inherit(op); return {};
    }
  }

  // Routed rows do not leave the loop's turn that routed them.
  Status carried(const OpView& op) const {
    for (const Operand& o : op.instruction().in) {
      if (perm_of_[o.index] != kNone || function_.value_types[o.index].kind == ValueKind::kPerm)
        return op.broken("V13", value_label(function_, o.index) + " is carried by a loop");
    }
    return {};
  }

  // The operand's rows are unrouted (one per token), or ordered by the very perm given.
  Status same_route(const OpView& op, std::size_t rows, std::size_t perm) const {
    const Type type = op.in(rows);
    bool per_token = type.dims[0] == op.in(perm).dims[0] && op.op() == Opcode::kGroupedLinear;
    if (per_token || perm_of_[op.operand(rows).index] == op.operand(perm).index) return {};
    return op.broken("V13",
                     op.operand_label(rows) + " was not ordered by " + op.operand_label(perm));
  }

  // Row by row, an op keeps its first operand's order.
  void inherit(const OpView& op) {
    const Instruction& i = op.instruction();
    if (i.in.empty() || i.out.size() != 1 || i.in[0].kind != OperandKind::kValue) return;
    const Type& from = function_.value_types[i.in[0].index];
    const Type& to = function_.value_types[i.out[0]];
    if (from.dims.empty() || to.dims.empty() || from.dims[0] != to.dims[0]) return;
    perm_of_[i.out[0]] = perm_of_[i.in[0].index];
  }

  const Program& program_;
  const Function& function_;
  std::vector<u32> perm_of_;
};

}  // namespace

Status check_experts(const Program& program, const Function& function) {
  return RoutedRows(program, function).run();
}

namespace {

struct Uses {
  std::vector<bool> weights;
  std::vector<bool> kv;
  std::vector<bool> constants;
};

void collect_uses(const Function& function, Uses& uses) {
  for (const Instruction& i : function.body) {
    for (const Operand& o : i.in) {
      switch (o.kind) {
        case OperandKind::kValue: break;
        case OperandKind::kWeight: uses.weights[o.index] = true; break;
        case OperandKind::kConst: uses.constants[o.index] = true; break;
        case OperandKind::kKv: uses.kv[o.index] = true; break;
      }
    }
  }
}

}  // namespace

Status check_results_used(const Program&, const Function& function) {
  std::vector<bool> used(function.value_types.size());
  for (const Instruction& i : function.body) {
    for (const Operand& o : i.in) {
      if (o.kind == OperandKind::kValue) used[o.index] = true;
    }
  }
  for (u32 id : function.results) used[id] = true;
  for (const Instruction& i : function.body) {
    // The final values of a loop may go unused: a carried value can matter only inside.
    if (i.op == Opcode::kYield) continue;
    for (u32 id : i.out) {
      if (!used[id]) return broken("V15", value_label(function, id) + " is never used");
    }
  }
  return {};
}

Status check_declarations_used(const Program& program) {
  Uses uses{std::vector<bool>(program.weights.size()), std::vector<bool>(program.kv.size()),
            std::vector<bool>(program.constants.size())};
  for (const Function& f : program.functions) collect_uses(f, uses);
  auto unused = [](const std::string& name) {
    return broken("V15", "$" + name + " is never used");
  };
  for (std::size_t i = 0; i < uses.weights.size(); ++i)
    if (!uses.weights[i]) return unused(program.weights[i].name);
  for (std::size_t i = 0; i < uses.kv.size(); ++i)
    if (!uses.kv[i]) return unused(program.kv[i].name);
  for (std::size_t i = 0; i < uses.constants.size(); ++i)
    if (!uses.constants[i]) return unused(program.constants[i].name);
  return {};
}

namespace {

// Replays the cache accesses of the unrolled function.
class KvDiscipline {
 public:
  KvDiscipline(const Program& program, const Function& function)
      : program_(program), function_(function) {
    for (const KvDecl& kv : program.kv) appended_.emplace_back(kv.layers, false);
  }

  Status run() {
    std::size_t i = 0;
    while (i < function_.body.size()) {
      if (function_.body[i].op != Opcode::kRepeat) {
        TG_TRY(access(function_.body[i++], 0));
        continue;
      }
      u32 count = OpView(program_, function_, function_.body[i]).word(AttributeKey::kCount);
      std::size_t end = i;
      while (function_.body[end].op != Opcode::kYield) ++end;
      for (u32 turn = 0; turn < count; ++turn) {
        for (std::size_t k = i + 1; k < end; ++k) TG_TRY(access(function_.body[k], turn));
      }
      i = end + 1;
    }
    return all_appended();
  }

 private:
  static bool is_memory_op(Opcode op) {
    return op == Opcode::kKvAppend || op == Opcode::kAttn || op == Opcode::kIndex ||
           op == Opcode::kConvState || op == Opcode::kScan;
  }

  Status access(const Instruction& i, u32 turn) {
    if (!is_memory_op(i.op)) return {};
    OpView op(program_, function_, i);
    std::size_t position = 0;
    while (op.operand(position).kind != OperandKind::kKv) ++position;
    const Operand& o = op.operand(position);
    u32 layer = o.layer + (o.mode == LayerMode::kLoop ? turn : 0);
    bool reads = i.op == Opcode::kAttn || i.op == Opcode::kIndex;
    std::vector<bool>& done = appended_[o.index];
    std::string where = "layer " + std::to_string(layer) + " of $" + program_.kv[o.index].name;
    if (reads && !done[layer]) return op.broken("V10", "reads " + where + " before it is appended");
    if (!reads && done[layer])
      return op.broken("V10",
                       (i.op == Opcode::kKvAppend ? "appends " : "updates ") + where + " twice");
    done[layer] = true;
    return {};
  }

  Status all_appended() const {
    for (std::size_t k = 0; k < appended_.size(); ++k) {
      for (std::size_t layer = 0; layer < appended_[k].size(); ++layer) {
        if (!appended_[k][layer])
          return broken("V10", "layer " + std::to_string(layer) + " of $" + program_.kv[k].name +
                                   " is never " +
                                   (program_.kv[k].is_state ? "updated" : "appended"));
      }
    }
    return {};
  }

  const Program& program_;
  const Function& function_;
  std::vector<std::vector<bool>> appended_;
};

}  // namespace

Status check_kv(const Program& program, const Function& function) {
  return KvDiscipline(program, function).run();
}

}  // namespace tg::isa
