// An accelerator with its engine, step by step, under the world's clock; a step's time comes from a
// calibrated model in place of kernels. Two kinds of engine: the one that ships (engine_device.h)
// and a quick model of it (fcfs_device.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dispatch/view.h"

namespace tg::sim {

struct DeviceModel {
  std::string name;
  fleet::StepEstimate step;
  i64 step_tokens_max = 2048;
  i64 step_target_ns = 0;   // 0: chunks are as long as step_tokens_max allows
  i64 step_longest_ns = 0;  // beside many streams; below the target it counts as the target
  i64 running_max = 256;
  i64 keys_total = 400'000;
  i64 page_tokens = 64;    // of the shipped engine's pool; the quick one counts single tokens
  i64 block_tokens = 512;  // of the trace, found in its prefix cache; 0: has none
  f64 noise = 0.05;        // of a step's time, standard deviation of its logarithm
  f64 watts_busy = 0;
  f64 watts_idle = 0;
  dispatch::TokenPrices price;
  i64 cold_start_ns = 60'000'000'000;
};

enum class EngineKind : u8 { kShipped, kQuick };

struct DeviceJob {
  u64 id = 0;
  i64 prompt_tokens = 0;
  i64 output_tokens = 0;        // > 0
  std::span<const u64> blocks;  // chained hashes of the prompt's whole blocks; must outlive it
  i64 funded_tokens = 0;        // output tokens paid for so far; 0: all of them
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;  // the quick engine knows none
};

// Joules that a device drew for a request, at least in part: when it ends, is cancelled or lost.
struct Drawn {
  u64 id = 0;
  f64 joules = 0;
};

struct DeviceFinish {
  u64 id = 0;
  i64 cached_tokens = 0;
  i64 output_tokens = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // False: it is too long for this device's memory, alone as in company.
  virtual bool submit(const DeviceJob& job) = 0;
  // It and what it has computed are gone; unknown ids are ignored.
  virtual void cancel(u64 id) = 0;
  // So many of its output tokens are paid for; with `is_final` it ends there. Unknown ids are
  // ignored.
  virtual void fund(u64 id, i64 output_tokens, bool is_final) = 0;
  // Everything is lost; all open requests with the output tokens they had, by id.
  virtual std::vector<std::pair<u64, i64>> crash() = 0;
  // Times take so much longer from now on.
  void set_slowness(f64 factor) { slowness_ = factor; }

  // Plans a step and returns how long it takes; 0: there is nothing to do. REQUIRES: no step is
  // under way; the time does not run backwards.
  virtual i64 begin_step(i64 now_ns) = 0;
  // The step is over: `first` got their first token, `finished` their last.
  virtual void end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished) = 0;
  bool is_stepping() const { return is_stepping_; }

  virtual i64 running() const = 0;
  virtual i64 waiting() const = 0;
  i64 open() const { return running() + waiting(); }
  // Tokens of context that open requests hold.
  virtual i64 keys() const = 0;
  i64 busy_ns() const { return busy_ns_; }
  i64 steps() const { return steps_; }
  virtual i64 computed_tokens() const = 0;  // of prompts, and of whatever else is computed again
  virtual i64 cached_tokens() const = 0;
  virtual i64 preemptions() const = 0;
  // Adds what was drawn for requests since the last call, of those that are no longer here. A
  // step's energy is that of its requests; over all of them it is watts_busy times busy_ns.
  void take_drawn(std::vector<Drawn>& out) {
    out.insert(out.end(), drawn_.begin(), drawn_.end());
    drawn_.clear();
  }
  // Output tokens that an open request has; 0 for unknown ids.
  virtual i64 produced(u64 id) const = 0;
  const DeviceModel& model() const { return model_; }

 protected:
  explicit Device(const DeviceModel& model) : model_(model) {}

  const DeviceModel model_;
  f64 slowness_ = 1;
  bool is_stepping_ = false;
  i64 busy_ns_ = 0;
  i64 steps_ = 0;
  std::vector<Drawn> drawn_;
};

// Same model, same seed, same calls: the same device to the last digit.
std::unique_ptr<Device> make_device(EngineKind kind, const DeviceModel& model, u64 seed);

}  // namespace tg::sim
