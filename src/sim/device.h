// An accelerator with its engine, step by step: continuous batching, prompts in chunks beside those
// who decode, first come first served, keys in a pool, a cache of prompt blocks by last use, the
// last to come preempted when keys run out. What src/engine does, with a step's time from a
// calibrated model in place of kernels; a step costs the same to simulate whatever its batch.
#pragma once

#include <deque>
#include <list>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "dispatch/view.h"
#include "env/random.h"

namespace tg::sim {

struct DeviceModel {
  std::string name;
  fleet::StepEstimate step;
  i64 step_tokens_max = 2048;
  i64 step_target_ns = 0;   // 0: chunks are as long as step_tokens_max allows
  i64 step_longest_ns = 0;  // beside many streams; below the target it counts as the target
  i64 running_max = 256;
  i64 keys_total = 400'000;
  i64 block_tokens = 512;  // of its prefix cache; 0: has none
  f64 noise = 0.05;        // of a step's time, standard deviation of its logarithm
  f64 watts_busy = 0;
  f64 watts_idle = 0;
  dispatch::TokenPrices price;
  i64 cold_start_ns = 60'000'000'000;
};

struct DeviceJob {
  u64 id = 0;
  i64 prompt_tokens = 0;
  i64 output_tokens = 0;  // > 0
  std::span<const u64> blocks;
};

// Joules that a device drew for a request, at least in part: when it ends, is cancelled or lost.
struct Drawn {
  u64 id = 0;
  f64 joules = 0;
};

struct DeviceFinish {
  u64 id = 0;
  i64 cached_tokens = 0;
};

class Device {
 public:
  Device(const DeviceModel& model, u64 seed);

  void submit(const DeviceJob& job) { waiting_.push_back(slot_of(job)); }
  // It and what it has computed are gone; unknown ids are ignored.
  void cancel(u64 id);
  // Everything is lost; all open requests with the output tokens they had.
  std::vector<std::pair<u64, i64>> crash();
  // Times take so much longer from now on.
  void set_slowness(f64 factor) { slowness_ = factor; }

  // Plans a step and returns how long it takes; 0: there is nothing to do. REQUIRES: no step is
  // under way.
  i64 begin_step();
  // The step is over: `first` got their first token, `finished` their last.
  void end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished);
  bool is_stepping() const { return is_stepping_; }

  i64 running() const { return static_cast<i64>(prefilling_.size()) + decoding_; }
  i64 waiting() const { return static_cast<i64>(waiting_.size()); }
  i64 open() const { return running() + waiting(); }
  i64 keys() const { return keys_; }
  i64 busy_ns() const { return busy_ns_; }
  i64 computed_tokens() const { return computed_tokens_; }
  i64 cached_tokens() const { return cached_tokens_; }
  i64 preemptions() const { return preemptions_; }
  // Adds what was drawn for requests since the last call, of those that are no longer here. A
  // step's energy is that of its requests, each by the time that its own tokens, keys and rows take
  // and an equal part of the rest; over all of them it is watts_busy times busy_ns.
  void take_drawn(std::vector<Drawn>& out);
  // Output tokens that an open request has; 0 for unknown ids.
  i64 produced(u64 id) const;
  const DeviceModel& model() const { return model_; }

 private:
  enum class Phase : u8 { kFree, kWaiting, kPrefilling, kDecoding };
  struct Slot {
    DeviceJob job;
    Phase phase = Phase::kFree;
    i64 cached = 0;        // found at its first admission
    i64 computed = 0;      // tokens whose keys are held
    i64 produced = 0;      // at the last time it was brought up to date
    i64 to_compute = 0;    // prompt, and outputs again after a preemption
    u64 decode_first = 0;  // decode step count when it began to decode
    u64 finish_at = 0;     // ... when it will have its last token
    u64 serial = 0;        // of this life of the slot, to tell old heap entries
    bool has_first = false;
    f64 joules = 0;
    // Of the sums below, when it began to decode.
    f64 even_first = 0;
    f64 per_key_first = 0;
    f64 key_steps_first = 0;
  };
  struct Due {
    u64 at = 0;
    u32 slot = 0;
    u64 serial = 0;
    friend bool operator<(const Due& a, const Due& b) { return a.at > b.at; }
  };
  struct Chunk {
    u32 slot = 0;
    i64 tokens = 0;
  };

  u32 slot_of(const DeviceJob& job);
  void release(u32 slot);
  void admit();
  bool try_admit(u32 slot);
  void plan_chunks();
  void start_decoding(u32 slot);
  void preempt_last();
  i64 held_by(const Slot& s) const;
  i64 match(const Slot& s);
  void remember(std::span<const u64> blocks);
  void trim_cache();
  void draw(f64 joules, f64 ns);
  f64 own_ns(const Slot& s, i64 tokens) const;
  void settle(Slot& s);

  DeviceModel model_;
  SeededRandom random_;
  f64 slowness_ = 1;
  std::vector<Slot> slots_;
  std::vector<u32> free_;
  std::unordered_map<u64, u32> by_id_;
  std::deque<u32> waiting_;
  std::vector<u32> prefilling_;  // in order of admission
  std::vector<Due> due_;         // heap of those who decode
  i64 decoding_ = 0;
  u64 decode_steps_ = 0;
  u64 serial_ = 0;
  i64 keys_ = 0;         // held by running requests
  i64 output_keys_ = 0;  // of them, of outputs: not in the prefix cache
  bool is_stepping_ = false;
  std::vector<Chunk> chunks_;
  i64 busy_ns_ = 0;
  i64 computed_tokens_ = 0;
  i64 cached_tokens_ = 0;
  i64 preemptions_ = 0;
  // Joules of a decoding request over all steps so far: what all of them have alike, what a key of
  // theirs costs, and that times the step's number. A request's part is a difference of these.
  f64 even_ = 0;
  f64 per_key_ = 0;
  f64 key_steps_ = 0;
  std::vector<Drawn> drawn_;
  std::list<u64> cache_;  // blocks, the last used first
  std::unordered_map<u64, std::list<u64>::iterator> places_;
};

}  // namespace tg::sim
