// V10, V11, V15, V16: the rules about the program as a whole: its entry, its cache discipline, and
// nothing without a use.
#include <string>
#include <vector>

#include "isa/expression.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

// ISA 1.0 has one entry, so that which one is billed needs no predicate (V16).
Status check_entry(const Program& program) {
  if (program.functions.size() != 1 || program.functions[0].name != "main")
    return broken("V16", "a program has one function, main");
  const Function& main = program.functions[0];
  const Type ids{.dtype = DType::kI32, .dims = {Dim{.t = 1}}};
  const Type rows{.dtype = DType::kI32, .dims = {Dim{.r = 1}}};
  const Type expected[] = {ids, ids, rows, Type{.kind = ValueKind::kBatch},
                           Type{.kind = ValueKind::kParams}};
  std::size_t count = main.parameters.size();
  if (count != 4 && count != 5)
    return broken("V16", "main takes (ids, pos, rows, batch[, params]), not " +
                             std::to_string(count) + " parameters");
  for (std::size_t i = 0; i < count; ++i) {
    const Type& type = main.value_types[main.parameters[i]];
    if (type != expected[i])
      return broken(type.kind == expected[i].kind ? "V16" : "V11",
                    "parameter " + value_label(main, main.parameters[i]) + " of main is " +
                        to_text(type) + ", expected " + to_text(expected[i]));
  }
  // Opaque values come in once and never leave: nothing else makes one (V11).
  for (std::size_t id = count; id < main.value_types.size(); ++id) {
    if (main.value_types[id].kind != ValueKind::kTensor)
      return broken("V11", value_label(main, static_cast<u32>(id)) + " is a second " +
                               to_text(main.value_types[id]));
  }
  return {};
}

namespace {

struct Uses {
  std::vector<bool> values;
  std::vector<bool> weights;
  std::vector<bool> kv;
  std::vector<bool> constants;
};

Uses collect_uses(const Program& program, const Function& function) {
  Uses uses{std::vector<bool>(function.value_types.size()),
            std::vector<bool>(program.weights.size()), std::vector<bool>(program.kv.size()),
            std::vector<bool>(program.constants.size())};
  for (const Instruction& i : function.body) {
    for (const Operand& o : i.in) {
      switch (o.kind) {
        case OperandKind::kValue: uses.values[o.index] = true; break;
        case OperandKind::kWeight: uses.weights[o.index] = true; break;
        case OperandKind::kConst: uses.constants[o.index] = true; break;
        case OperandKind::kKv: uses.kv[o.index] = true; break;
      }
    }
  }
  for (u32 id : function.results) uses.values[id] = true;
  return uses;
}

}  // namespace

Status check_uses(const Program& program, const Function& function) {
  Uses uses = collect_uses(program, function);
  for (const Instruction& i : function.body) {
    // The final values of a loop may go unused: a carried value can matter only inside.
    if (i.op == Opcode::kYield) continue;
    for (u32 id : i.out) {
      if (!uses.values[id]) return broken("V15", value_label(function, id) + " is never used");
    }
  }
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
  Status access(const Instruction& i, u32 turn) {
    if (i.op != Opcode::kKvAppend && i.op != Opcode::kAttn) return {};
    OpView op(program_, function_, i);
    const Operand& o = op.operand(i.op == Opcode::kAttn ? 1 : 0);
    u32 layer = o.layer + (o.mode == LayerMode::kLoop ? turn : 0);
    std::vector<bool>& done = appended_[o.index];
    std::string where = "layer " + std::to_string(layer) + " of $" + program_.kv[o.index].name;
    if (i.op == Opcode::kAttn && !done[layer])
      return op.broken("V10", "reads " + where + " before it is appended");
    if (i.op == Opcode::kKvAppend && done[layer])
      return op.broken("V10", "appends " + where + " twice");
    done[layer] = true;
    return {};
  }

  Status all_appended() const {
    for (std::size_t k = 0; k < appended_.size(); ++k) {
      for (std::size_t layer = 0; layer < appended_[k].size(); ++layer) {
        if (!appended_[k][layer])
          return broken("V10", "layer " + std::to_string(layer) + " of $" + program_.kv[k].name +
                                   " is never appended");
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
