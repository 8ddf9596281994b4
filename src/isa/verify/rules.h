// The verifier's rule groups, in the order verify() runs them: each may rely on the ones above it.
// Every message starts with the number of the rule it enforces (isa.md §9.1).
#pragma once

#include "isa/program.h"

namespace tg::isa {

// M5-M7, V19: names, counts and integers within the published limits.
Status check_limits(const Program& program);
// V2, V4, V6, V7, V9, V18: version, profiles, weights, caches and constants as declared.
Status check_declarations(const Program& program);
// V1, V3, V6, V14: operands, results and loops of a function refer to what exists.
Status check_structure(const Program& program, const Function& function);
// V16, V11: which functions there are, and their signature.
Status check_entries(const Program& program);
// M4, V3, V12, V14: attributes are known, in range and in canonical form.
Status check_attributes(const Program& program, const Function& function);
// V2: the version is the least that has all attributes' words.
Status check_version_needed(const Program& program);
// V4-V9, V12: the types of every value and instruction.
Status check_types(const Program& program, const Function& function);
// V13: routed rows are used with the route that ordered them.
Status check_experts(const Program& program, const Function& function);
// V15: everything a function computes is used; everything declared is used by some function.
Status check_results_used(const Program& program, const Function& function);
Status check_declarations_used(const Program& program);
// V10: one append before every read of each cache layer, one update of each state's.
Status check_kv(const Program& program, const Function& function);
// V21: activations at the bounds fit the published limit.
Status check_memory(const Program& program, const Function& function);

// Bytes of all values alive at once, at the most, with the step symbols at their bounds; saturates.
i64 activation_bytes_max(const Program& program, const Function& function);

// All of the above but the stored cost.
Status check_program(const Program& program);

}  // namespace tg::isa
