// Counts calls of the C allocator, from any thread and any shared object, while armed: how R4 ("run
// does not allocate") is tested on code that we cannot read.
#pragma once

#include "base/types.h"

namespace tg::conformance {

// False under sanitizers, which have an allocator of their own: nothing is counted then.
bool can_watch_allocations();

void arm_allocation_watch();
// Calls of malloc, calloc, realloc, free and their aligned kin since arm_allocation_watch().
i64 disarm_allocation_watch();

}  // namespace tg::conformance
