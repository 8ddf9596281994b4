// The only maker of VerifiedPrograms: runs the rule groups in order, derives the cost, encodes.
#include "isa/cost/cost.h"
#include "isa/encode.h"
#include "isa/limits.h"
#include "isa/program.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

Status check_program(const Program& program) {
  TG_TRY(check_limits(program));
  TG_TRY(check_declarations(program));
  if (program.functions.size() != 1)
    return broken("V16", std::to_string(program.functions.size()) + " functions, expected main");
  const Function& main = program.functions[0];
  TG_TRY(check_structure(program, main));
  TG_TRY(check_entry(program));
  TG_TRY(check_attributes(program, main));
  TG_TRY(check_types(program, main));
  TG_TRY(check_uses(program, main));
  TG_TRY(check_kv(program, main));
  return check_memory(program, main);
}

Result<VerifiedProgram> verify(Program program) {
  TG_TRY(check_program(program));
  TG_ASSIGN(program.cost, derive_cost(program));
  VerifiedProgram verified;
  verified.bytes_ = encode(program);
  if (static_cast<i64>(verified.bytes_.size()) > kFileBytesMax)
    return broken("M6", "the program takes " + std::to_string(verified.bytes_.size()) +
                            " bytes, at most " + std::to_string(kFileBytesMax));
  verified.id_ = program_id(verified.bytes_);
  verified.program_ = std::move(program);
  return verified;
}

Result<VerifiedProgram> load(std::span<const u8> bytes) {
  TG_ASSIGN(Program program, decode(bytes));
  unit::CostMatrix stored = program.cost;
  TG_ASSIGN(VerifiedProgram verified, verify(std::move(program)));
  if (verified.cost() != stored)
    return broken("V17", "the stored cost matrix is not the program's");
  if (!std::equal(bytes.begin(), bytes.end(), verified.bytes_.begin(), verified.bytes_.end()))
    return broken("M4", "the program is not in canonical form");
  return verified;
}

}  // namespace tg::isa
