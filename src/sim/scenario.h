// A world to play: suppliers with their devices and places, what goes wrong when, and how the
// gateway decides. Read from TOML, or made in code.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dispatch/autoscale.h"
#include "dispatch/router.h"
#include "sim/device.h"
#include "sim/money.h"

namespace tg::sim {

struct SupplierSpec {
  std::string name;
  DeviceModel device;
  u16 zone = 0;
  i64 rtt_ns = 1'000'000;
  f64 grams_per_joule = 0;  // carbon of its zone
  f64 price_per_joule = 0;  // of energy, in the currency of prices
  f64 pue = 1.2;            // energy of the building per energy of the device
  // It says it is so many times faster than it is, and that it is always idle.
  f64 boast = 1;
  // It reports so many times the tokens that it delivered.
  f64 overcount = 1;
};

enum class FaultKind : u8 {
  kCrash,      // all its requests are lost; it is back at the end, with an empty cache
  kSlow,       // steps take `factor` times as long
  kPartition,  // no message gets through either way
};

struct Fault {
  FaultKind kind = FaultKind::kCrash;
  u32 supplier = 0;
  i64 from_ns = 0;
  i64 until_ns = 0;
  f64 factor = 1;
};

// Replicas come and go: all suppliers of the scenario are one kind, and those beyond `replicas` are
// off at the start.
struct Elasticity {
  bool is_on = false;
  i64 replicas = 1;
  dispatch::ScaleSettings scale;
  i64 tick_ns = 500'000'000;
  i64 warm = 0;  // kept loaded beside those that serve, and refilled
  i64 warm_start_ns = 1'000'000'000;
  i64 cold_start_ns = 60'000'000'000;  // process, weights, warm-up
  // Processes are kept, and weights come from peers that have them, each to one more per hop: the
  // number of loaded ones doubles. 0: every start is a cold one.
  i64 hop_ns = 0;
};

// Shares of the requests; all others are standard ones.
struct ClassMix {
  f64 interactive = 0;
  f64 batch = 0;

  bool is_mixed() const { return interactive > 0 || batch > 0; }
  fleet::ServiceClass of(u32 request, u64 seed) const;
};

enum class MoneyMode : u8 {
  kWithShipped,  // if the engine is the shipped one: beside it, money costs little
  kOn,
  kOff,
};

struct Scenario {
  std::string name = "pool";
  EngineKind engine = EngineKind::kShipped;  // of all devices
  std::vector<SupplierSpec> suppliers;
  MoneyMode money_mode = MoneyMode::kWithShipped;
  MoneyTerms money;
  ClassMix classes;
  std::vector<Fault> faults;
  dispatch::RouterOptions router;
  Elasticity elasticity;
  i64 report_interval_ns = 1'000'000'000;
  // How far the gateway's estimate of each supplier's speed is off at the start: standard deviation
  // of its logarithm.
  f64 estimate_error = 0.1;
  bool knows_lengths = false;  // the gateway is told how long answers get: a bound, not a policy
  i64 ttft_target_ns = 2'000'000'000;  // of goodput
  i64 tpot_target_ns = 100'000'000;
  u64 seed = 1;

  bool has_money() const {
    bool is_default = money_mode == MoneyMode::kWithShipped && engine == EngineKind::kShipped;
    return is_default || money_mode == MoneyMode::kOn;
  }
};

// kInvalid naming file, key and value.
Result<Scenario> parse_scenario(std::string_view text, std::string_view file);
Result<Scenario> read_scenario(const std::string& path);

// A pool of two generations of devices: `fast` of the one and `slow` ones of a third of its speed.
Scenario mixed_pool(i64 fast, i64 slow);
DeviceModel reference_device(f64 speed);

std::optional<EngineKind> engine_kind_by_name(std::string_view name);  // "shipped", "quick"

}  // namespace tg::sim
