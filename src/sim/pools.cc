// Pools made in code.
#include "sim/scenario.h"

namespace tg::sim {

namespace {

constexpr f64 kPeakFraction = 0.55;
constexpr f64 kBandwidthFraction = 0.8;

}  // namespace

// Llama 3 8B in 16 bits on an accelerator of `speed` times 990 TFLOP/s and 3.35 TB/s: weights once
// a step, FLOP per token, keys and pairs. Slower devices are cheaper and draw less, not in
// proportion.
DeviceModel reference_device(f64 speed) {
  f64 flops = speed * 990e12 * kPeakFraction;
  f64 bandwidth = speed * 3.35e12 * kBandwidthFraction;
  DeviceModel d;
  d.name = speed >= 1 ? "fast" : "slow";
  d.step = {.ns_per_step = 1e6 + 16e9 / bandwidth * 1e9,
            .ns_per_token = 16e9 / flops * 1e9,
            .ns_per_row = 2e3 / speed,
            .ns_per_key = 131'072 / bandwidth * 1e9,
            .ns_per_pair = 524'288 / flops * 1e9,
            .error = 0.05};
  d.step_tokens_max = 2048;
  d.running_max = 256;
  d.keys_total = 397'000;
  d.watts_busy = speed >= 1 ? 650 : 300;
  d.watts_idle = speed >= 1 ? 120 : 70;
  d.price = speed >= 1 ? dispatch::TokenPrices{60, 6, 240} : dispatch::TokenPrices{45, 4.5, 180};
  return d;
}

Scenario mixed_pool(i64 fast, i64 slow) {
  Scenario s;
  s.name = "mixed";
  for (i64 i = 0; i < fast + slow; ++i) {
    SupplierSpec spec;
    spec.device = reference_device(i < fast ? 1 : 1.0 / 3);
    spec.name = spec.device.name + "-" + std::to_string(i);
    spec.grams_per_joule = 400.0 / 3.6e6;
    spec.price_per_joule = 0.1 * 1e9 / 3.6e6;  // 0.1 credit per kWh, in 1e-9 credit
    s.suppliers.push_back(spec);
  }
  return s;
}

std::optional<EngineKind> engine_kind_by_name(std::string_view name) {
  if (name == "shipped") return EngineKind::kShipped;
  if (name == "quick") return EngineKind::kQuick;
  return std::nullopt;
}

}  // namespace tg::sim
