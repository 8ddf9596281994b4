// The only maker of VerifiedPrograms: runs the rule groups in order, derives the cost, encodes.
#include "isa/cost/cost.h"
#include "isa/encode.h"
#include "isa/limits.h"
#include "isa/program.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

static Status check_function(const Program& program, const Function& function) {
  TG_TRY(check_structure(program, function));
  TG_TRY(check_attributes(program, function));
  TG_TRY(check_types(program, function));
  TG_TRY(check_experts(program, function));
  TG_TRY(check_results_used(program, function));
  TG_TRY(check_kv(program, function));
  return check_memory(program, function);
}

Status check_program(const Program& program) {
  TG_TRY(check_limits(program));
  TG_TRY(check_declarations(program));
  TG_TRY(check_entries(program));
  for (const Function& f : program.functions) TG_TRY(check_function(program, f));
  TG_TRY(check_version_needed(program));
  return check_declarations_used(program);
}

Result<VerifiedProgram> verify(Program program) {
  TG_TRY(check_program(program));
  TG_ASSIGN(program.cost, derive_cost(program, program.functions[0], RulesPassed{}));
  program.entry_costs.clear();
  for (std::size_t i = 1; i < program.functions.size(); ++i) {
    TG_ASSIGN(unit::CostMatrix cost, derive_cost(program, program.functions[i], RulesPassed{}));
    program.entry_costs.push_back(std::move(cost));
  }
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
  std::vector<unit::CostMatrix> stored_entries = program.entry_costs;
  TG_ASSIGN(VerifiedProgram verified, verify(std::move(program)));
  if (verified.cost() != stored || verified.program().entry_costs != stored_entries)
    return broken("V17", "the stored cost matrix is not the program's");
  if (!std::equal(bytes.begin(), bytes.end(), verified.bytes_.begin(), verified.bytes_.end()))
    return broken("M4", "the program is not in canonical form");
  return verified;
}

}  // namespace tg::isa
