// Traffic as a flow and devices as crowds: for pools of 10^5 devices and days of 10^14 tokens. Each
// tick the demand of every zone is dealt out in portions by the shipped choose(), where a supplier
// is a cell: all devices of one kind in one zone, at their mean load. What a load does to a device
// follows from its step model by a fixed point (Little's law for those who decode, Pollaczek and
// Khinchine's formula for prompts), not from single requests.
#pragma once

#include <string>
#include <vector>

#include "dispatch/choose.h"
#include "sim/device.h"
#include "sim/scenario.h"

namespace tg::sim {

// Of requests, on average.
struct FluidTraffic {
  f64 prompt = 1000;
  f64 prompt_square = 2e6;  // mean of squares
  f64 output = 300;
  f64 cached = 0;  // share of prompts that prefix caches serve
};

// What becomes of a device at so many requests a second.
struct FluidLoad {
  f64 rate = 0;     // served
  f64 running = 0;  // on average
  f64 tpot_ns = 0;
  f64 wait_ns = 0;       // of prompts, in its queue
  f64 ttft_ns = 0;       // on average
  f64 prompt_share = 0;  // of its time in steps with prompts
  f64 busy = 0;          // share of time with anybody on it
  bool is_full = false;  // `rate` is what it can do, not what came
};
FluidLoad fluid_load(const DeviceModel& device, const FluidTraffic& traffic, f64 rate);
// Requests a second at which the device is full.
f64 fluid_capacity(const DeviceModel& device, const FluidTraffic& traffic);

struct FluidCell {
  std::string name;
  DeviceModel device;
  f64 devices = 1;
  u16 zone = 0;
};

struct FluidZone {
  std::string name;
  f64 share = 1;            // of the demand, relative
  f64 peak_hour = 15;       // of its day, UTC
  f64 grams_per_kwh = 500;  // at night; solar lowers it at noon by `solar` of it
  f64 solar = 0;
  f64 credits_per_kwh = 0.1;
  f64 east = 0;  // position, for round trips
};

struct FluidDay {
  std::vector<FluidZone> zones;
  std::vector<FluidCell> cells;
  FluidTraffic traffic;
  f64 tokens = 140e12;  // prompts and outputs of the day
  f64 swing = 0.3;      // of demand between mean and peak
  f64 tick_s = 10;
  i64 portions = 16;  // per zone and tick
  f64 pue = 1.25;
  f64 carbon_weight = 0;         // currency per gram
  f64 ns_per_east = 40'000'000;  // round trip per unit of distance
  // A flow has no queue that says who is busy: it shows in the pace of tokens, which counts more
  // here.
  dispatch::RouteSettings settings{.late_weight = 5e4, .token_weight = 2.5e6};
};

struct FluidHour {
  f64 requests = 0;
  f64 ttft_ms = 0;  // mean over requests
  f64 tpot_ms = 0;
  f64 joules = 0;
  f64 grams = 0;
  f64 busy = 0;   // mean of devices
  f64 moved = 0;  // share of requests served outside their zone
};

struct FluidResult {
  std::vector<FluidHour> hours;
  f64 requests = 0;
  f64 tokens = 0;
  f64 st = 0;
  f64 joules = 0;
  f64 grams = 0;
  f64 price = 0;
  f64 ttft_ms = 0;
  f64 tpot_ms = 0;
  f64 moved = 0;
  f64 unserved = 0;  // requests left at the end of the day
  f64 backlog_most = 0;
  i64 decisions = 0;
};

// REQUIRES: zones, cells in them, positive tick and portions.
FluidResult play_day(const FluidDay& day);
// Ten zones and three kinds of devices in each, `devices` in all, for examples and tests.
FluidDay national_day(f64 tokens, f64 devices);

std::string to_json(const FluidResult& result);

}  // namespace tg::sim
