#include "unit/standard_token.h"

#include <fmt/format.h>

#include <limits>

#include "base/checked.h"

namespace tg::unit {

Result<u128> atto_st(const Counters& counters) {
  u128 sum = 0;
  for (std::size_t i = 0; i < kCounters; ++i) {
    // 64 x 64 bits always fit in 128; sixteen such terms may not.
    u128 term = static_cast<u128>(counters[i]) * kWeightsAttoSt[i];
    if (__builtin_add_overflow(sum, term, &sum)) {
      return Error{Code::kLimit, "standard token: the sum of atto-ST exceeds 128 bits"};
    }
  }
  return sum;
}

Result<NanoSt> round_to_nano(u128 atto) {
  u128 nano = div_round_half_even(atto, kAttoPerNano);
  if (nano > static_cast<u128>(std::numeric_limits<i64>::max())) {
    return Error{Code::kLimit, "standard token: " + to_string(nano) + " nano-ST exceed 63 bits"};
  }
  return NanoSt(static_cast<i64>(nano));
}

std::string to_decimal(NanoSt amount) {
  const char* sign = amount.value < 0 ? "-" : "";
  u64 magnitude =
      amount.value < 0 ? ~static_cast<u64>(amount.value) + 1 : static_cast<u64>(amount.value);
  return fmt::format("{}{}.{:09}", sign, magnitude / kAttoPerNano, magnitude % kAttoPerNano);
}

}  // namespace tg::unit
