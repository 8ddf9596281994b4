#include "unit/counters.h"

#include "base/assert.h"
#include "base/checked.h"

namespace tg::unit {

std::string_view counter_name(Counter counter) {
  static constexpr std::string_view kNames[kCounters] = {
      "mm_flops.f32",  "mm_flops.f16", "mm_flops.fp8", "mm_flops.int8",
      "mm_flops.4bit", "attn_flops",   "ew_flops",     "w_bytes",
      "kv_rd_bytes",   "kv_wr_bytes",  "state_bytes",  "io_bytes",
      "comm_bytes",    "kv_hold",      "tok_in",       "tok_out"};
  TG_ASSERT(counter < kCounters);
  return kNames[counter];
}

bool add_scaled(Counters& to, const Counters& from, u64 times) {
  bool fits = true;
  for (std::size_t i = 0; i < kCounters; ++i) {
    u64 product = 0;
    fits &= !__builtin_mul_overflow(from[i], times, &product);
    fits &= !__builtin_add_overflow(to[i], product, &to[i]);
  }
  return fits;
}

}  // namespace tg::unit
