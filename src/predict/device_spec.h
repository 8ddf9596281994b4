// What is known of an accelerator before anything was measured on it: peaks, bandwidths and links,
// from a spec file of "key: number" lines in sections (the layout of ../shared/data/perf/specs).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::predict {

inline constexpr u64 kSpecBytesMax = 1 << 20;

// Arithmetic that a matrix product runs in.
enum class Math : u8 { kBf16, kFp8, kFp4, kInt8 };

struct DeviceSpec {
  std::string name;
  f64 memory_bandwidth = 0;  // bytes/s
  f64 memory_capacity = 0;   // bytes; 0: not stated
  f64 bf16_flops = 0;        // FLOP/s of dense matrix products
  f64 fp8_flops = 0;         // that of the next wider format if the device has none
  f64 fp4_flops = 0;
  f64 int8_flops = 0;
  f64 near_bandwidth = 0;  // bytes/s per device and direction inside a node
  f64 far_bandwidth = 0;   // between nodes
  f64 near_devices = 8;    // how many devices the near links join
  f64 power = 0;           // W; 0: not stated
  i64 generation = 0;      // a maker's number that orders architectures; 0: not stated

  f64 flops(Math math) const;
};

// kInvalid naming file, line, key and value: a value that is not a number or is negative, or a
// needed key (mem_bw, bfloat16_tc_flops) that is absent or 0. Keys that are not known are skipped.
Result<DeviceSpec> parse_device_spec(std::string_view text, std::string_view file,
                                     std::string name);
Result<DeviceSpec> read_device_spec(const std::string& path, std::string name);

}  // namespace tg::predict
