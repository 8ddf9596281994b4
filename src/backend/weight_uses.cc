#include "backend/weight_uses.h"

#include <algorithm>

#include "backend/abi.h"
#include "base/assert.h"

namespace tg::backend {

u16 weight_use(isa::Opcode op, std::size_t index) {
  if (op == isa::Opcode::kLinear && index == 1) return TG_USE_MATRIX;
  if (op == isa::Opcode::kEmbed && index == 0) return TG_USE_ROWS;
  if (op == isa::Opcode::kBmm) return TG_USE_BATCHED;
  if (op == isa::Opcode::kGroupedLinear && index == 1) return TG_USE_GROUPED;
  return TG_USE_VECTOR;
}

static void add_uses(const isa::FlatProgram& flat, std::vector<std::vector<u16>>& uses) {
  for (const isa::FlatInstruction& instruction : flat.code) {
    for (std::size_t i = 0; i < instruction.in.size(); ++i) {
      const isa::FlatOperand& operand = instruction.in[i];
      if (operand.kind != isa::OperandKind::kWeight) continue;
      TG_ASSERT(operand.index < uses.size() && operand.layer < uses[operand.index].size());
      u16& bits = uses[operand.index][operand.layer];
      bits = static_cast<u16>(bits | weight_use(instruction.op, i));
    }
  }
}

Result<std::vector<std::vector<u16>>> weight_uses(const isa::VerifiedProgram& program) {
  std::vector<std::vector<u16>> uses;
  for (const isa::WeightDecl& weight : program.program().weights) {
    uses.emplace_back(std::max<u32>(weight.layers, 1), u16{0});
  }
  for (const isa::Function& function : program.program().functions) {
    TG_ASSIGN(isa::FlatProgram flat, program.flatten(function.name));
    add_uses(flat, uses);
  }
  return uses;
}

}  // namespace tg::backend
