// What this machine allows: the speeds every measurement of a kernel is a fraction of. They are
// taken in the run they are compared in, because shared machines change from minute to minute.
#pragma once

#include <vector>

#include "backend/cpu/memory.h"
#include "backend/cpu/pool.h"
#include "backend/cpu/variant.h"

namespace tg::backend::cpu {

struct Limits {
  f64 read_bytes = 0;  // per second, of memory far larger than the caches, in huge pages if any
  std::vector<f64> read_passes;  // all of them, of which it is the best
  f64 f32_ops = 0;               // per second, a multiply-add being two
  f64 int8_ops = 0;              // of the variant's own instruction: byte products, or AMX
  f64 bf16_ops = 0;              // of its own for those; without one f32_ops
};

// Reads memory far larger than the caches, from time to time between other work: what this machine
// gives its reader changes by the second where others share it.
class ReadProbe {
 public:
  // 512 MiB. kUnavailable without the memory. The kernels outlive it.
  static Result<ReadProbe> open(const Kernels& kernels, i32 threads);

  // Bytes per second of one pass over all of it, about 10 ms, by all threads at once.
  f64 pass();

 private:
  ReadProbe(const Kernels& kernels, Block memory, i32 threads);

  const Kernels* kernels_;
  Block memory_;
  i32 threads_;
  std::vector<f32> sinks_;  // so that no read is left out
};

// Takes about 0.3 s and 512 MiB; the best of several runs. kUnavailable without the memory.
Result<Limits> measure_limits(const Kernels& kernels, Pool& pool);

}  // namespace tg::backend::cpu
