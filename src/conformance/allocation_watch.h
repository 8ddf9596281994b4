// Counts calls of the C allocator, from any thread and any shared object, while armed: how R4 ("run
// does not allocate") is tested on code that we cannot read. A backend of a GPU stands on its
// vendor's driver, whose own bookkeeping no backend can forbid: those calls are counted apart.
#pragma once

#include "base/types.h"

namespace tg::conformance {

struct AllocationCalls {
  i64 backend = 0;  // the backend's, the host's, the C++ library's
  i64 driver = 0;   // from objects that opening a device brought in
};

// False under sanitizers, which have an allocator of their own: nothing is counted then.
bool can_watch_allocations();

// Objects that are loaded between the two calls, the opening of a device, are its driver. What is
// loaded with the backend itself is the backend's. Both may be called again for further devices.
void watch_before_driver();
void watch_after_driver();

void arm_allocation_watch();
// Calls of malloc, calloc, realloc, free, their aligned kin and of C++'s new and delete since
// arm_allocation_watch().
AllocationCalls disarm_allocation_watch();
// Calls of drivers while armed, since the process began.
i64 driver_calls_in_all();

}  // namespace tg::conformance
