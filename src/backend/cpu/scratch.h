// Scratch memory of one op: what plan reports as its segment's workspace and exec cuts up.
#pragma once

#include "backend/cpu/plan.h"

namespace tg::backend::cpu {

// Tokens times kv heads below which so many threads share the keys of each.
inline constexpr i64 kItemsPerThread = 2;

// Sizes in bytes. `shared` comes first; then `each` for every share of the work.
struct Scratch {
  i64 shared = 0;
  i64 each = 0;
  i64 shares = 0;
  i64 bytes() const { return shared + each * shares; }
};

Scratch scratch_of(const Plan& plan, const isa::FlatInstruction& op);

}  // namespace tg::backend::cpu
