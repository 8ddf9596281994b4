// The quick engine: continuous batching, prompts in chunks beside those who decode, first come
// first served, keys in a pool, a cache of prompt blocks by last use, the last to come preempted
// when keys run out. What src/engine does at large, without its classes, lanes, pages and
// forecasts; a step costs the same to simulate whatever its batch. Who is not paid for is not
// paused: it is cut where the funds end for good.
#pragma once

#include <deque>
#include <list>
#include <unordered_map>

#include "env/random.h"
#include "sim/device.h"

namespace tg::sim {

class FcfsDevice final : public Device {
 public:
  FcfsDevice(const DeviceModel& model, u64 seed);

  // Takes whatever comes: alone, a request may have more keys than there are.
  bool submit(const DeviceJob& job) override;
  void cancel(u64 id) override;
  void fund(u64 id, i64 output_tokens, bool is_final) override;
  std::vector<std::pair<u64, i64>> crash() override;
  i64 begin_step(i64 now_ns) override;
  void end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished) override;

  i64 running() const override { return static_cast<i64>(prefilling_.size()) + decoding_; }
  i64 waiting() const override { return static_cast<i64>(waiting_.size()); }
  i64 keys() const override { return keys_; }
  i64 computed_tokens() const override { return computed_tokens_; }
  i64 cached_tokens() const override { return cached_tokens_; }
  i64 preemptions() const override { return preemptions_; }
  i64 produced(u64 id) const override;

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
  void watch_end(u32 slot);
  void preempt_last();
  i64 held_by(const Slot& s) const;
  i64 match(const Slot& s);
  void remember(std::span<const u64> blocks);
  void trim_cache();
  void draw(f64 joules, f64 ns);
  f64 own_ns(const Slot& s, i64 tokens) const;
  void settle(Slot& s);

  SeededRandom random_;
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
  std::vector<Chunk> chunks_;
  i64 computed_tokens_ = 0;
  i64 cached_tokens_ = 0;
  i64 preemptions_ = 0;
  // Joules of a decoding request over all steps so far: what all of them have alike, what a key of
  // theirs costs, and that times the step's number. A request's part is a difference of these.
  f64 even_ = 0;
  f64 per_key_ = 0;
  f64 key_steps_ = 0;
  std::list<u64> cache_;  // blocks, the last used first
  std::unordered_map<u64, std::list<u64>::iterator> places_;
};

}  // namespace tg::sim
