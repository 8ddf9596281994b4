// The integer names used everywhere. i64 is the default for counts and arithmetic; fixed widths are
// for disk, wire and tensors. 128-bit integers carry sums of counters and atto-ST.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tg {

using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using f32 = float;
using f64 = double;

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

}  // namespace tg
