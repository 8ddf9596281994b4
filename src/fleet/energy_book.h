// The joules of a live engine, by request: what its meter says was drawn goes to the requests that
// computed meanwhile, by their shares of the device's time, and for the time in which nothing did
// to idleness; so that all of them together are what the meter says. Where no meter is, a stated
// power while it computes, marked as modelled. One thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "fleet/energy_meter.h"
#include "fleet/energy_split.h"
#include "fleet/supplier.h"
#include "unit/usage.h"

namespace tg::fleet {

class EnergyBook {
 public:
  // `meter` may be null; `watts` 0: then nothing is known.
  EnergyBook(std::unique_ptr<EnergyMeter> meter, f64 watts, i64 now_ns);

  // The request had so much of a step's time.
  void ran(u64 request, i64 ns);
  // Reads the meter, and shares out what was drawn since the last time. Nothing if that was less
  // than a tick ago, unless it is wanted now.
  void settle(i64 now_ns, bool is_wanted);
  // The request has ended: its joules. Those of an unknown one are 0.
  f64 take(u64 request);
  // ... into its usage.
  void take_into(u64 request, unit::Usage& usage);

  const EnergyCount& count() const { return count_; }
  static constexpr i64 kTickNs = 50'000'000;

 private:
  struct Part {
    u64 request = 0;
    f64 ns = 0;
  };
  void share(f64 joules, f64 busy_ns);

  std::unique_ptr<EnergyMeter> meter_;
  const f64 watts_;
  i64 settled_ns_;
  f64 read_ = 0;             // what the meter said then
  std::vector<Part> parts_;  // since then
  std::unordered_map<u64, f64> joules_;
  EnergyCount count_;
  bool has_complained_ = false;
};

}  // namespace tg::fleet
