// The integer counters that every ISA instruction adds to (isa.md §3, standard-token.md §1). They
// are algorithmic: what was ordered, independent of how a backend did it.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/types.h"

namespace tg::unit {

enum Counter : u8 {
  kMmF32,     // FLOP of matrix products, weight stored in f32
  kMmF16,     // ... 16-bit class: the default for 16-bit and quantised weights
  kMmFp8,     // ... activations declared fp8
  kMmInt8,    // ... activations declared int8
  kMm4Bit,    // ... activations declared 4-bit
  kAttn,      // FLOP of attention, 2*H*(dk+dv) per attended pair
  kEw,        // FLOP of elementwise and reduction work
  kWBytes,    // bytes of weights
  kKvRd,      // bytes of keys and values read
  kKvWr,      // bytes of keys and values written
  kState,     // bytes of recurrent state
  kIo,        // bytes of embedding rows in, results out
  kComm,      // bytes between devices
  kKvHold,    // page-milliseconds of residency
  kTokIn,     // prompt tokens
  kTokOut,    // accepted output tokens
  kCounters,  // how many there are
};

using Counters = std::array<u64, kCounters>;

// "mm_flops.f16", "w_bytes", ...
std::string_view counter_name(Counter counter);

// Adds `times` copies of `from` to `to`; false (and `to` unspecified) if any counter would
// overflow.
[[nodiscard]] bool add_scaled(Counters& to, const Counters& from, u64 times);

}  // namespace tg::unit
