// The Standard Token, revision 1: the weights of the counters, sums in 128-bit atto-ST, one
// rounding to nano-ST (standard-token.md §3). One ST is the work of decoding one token of the
// reference model TG-R1 with 2,048 keys in view.
#pragma once

#include <string>

#include "base/result.h"
#include "base/strong.h"
#include "unit/counters.h"

namespace tg::unit {

inline constexpr u32 kRevision = 1;

// 10^-18 ST per unit of each counter; 0 for counters that revision 1 does not price.
inline constexpr std::array<u64, kCounters> kWeightsAttoSt = {25'334'453,     // f32 FLOP
                                                              6'333'613,      // f16 FLOP
                                                              3'166'807,      // fp8 FLOP
                                                              3'166'807,      // int8 FLOP
                                                              3'166'807,      // 4-bit FLOP
                                                              6'333'613,      // attention FLOP
                                                              0,              // elementwise
                                                              1'266'722'652,  // weight byte
                                                              1'266'722'652,  // KV byte read
                                                              1'266'722'652,  // KV byte written
                                                              1'266'722'652,  // state byte
                                                              0,
                                                              0,
                                                              0,
                                                              0,
                                                              0};

inline constexpr u64 kAttoPerNano = 1'000'000'000;

// Billionths of a Standard Token: what receipts, holds and prices count.
using NanoSt = Amount<struct NanoStTag>;

// The atto-ST of a vector of counters; kLimit on overflow.
Result<u128> atto_st(const Counters& counters);

// Rounds half to even to nano-ST; kLimit if it exceeds 63 bits.
Result<NanoSt> round_to_nano(u128 atto);

// "548.675100000" (always nine decimals), for people; machines get the integer.
std::string to_decimal(NanoSt amount);

}  // namespace tg::unit
