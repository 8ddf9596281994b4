// The kernels compiled for amx (options.cmake sets the flags). Nothing but them is in this file:
// code compiled for one instruction set must not reach machines without it.
#include "backend/cpu/kernels/table.h"
