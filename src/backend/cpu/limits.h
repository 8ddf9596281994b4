// What this machine allows: the speeds every measurement of a kernel is a fraction of. They are
// taken in the run they are compared in, because shared machines change from minute to minute.
#pragma once

#include "backend/cpu/memory.h"
#include "backend/cpu/pool.h"
#include "backend/cpu/variant.h"

namespace tg::backend::cpu {

struct Limits {
  f64 read_bytes = 0;  // per second, of memory far larger than the caches, in huge pages if any
  f64 f32_ops = 0;     // per second, a multiply-add being two
  f64 int8_ops = 0;    // of the variant's own instruction: byte products, or AMX
  f64 bf16_ops = 0;    // of its own for those; without one f32_ops
};

// Takes about 0.3 s and 512 MiB; the best of several runs. kUnavailable without the memory.
Result<Limits> measure_limits(const Kernels& kernels, Pool& pool);

}  // namespace tg::backend::cpu
