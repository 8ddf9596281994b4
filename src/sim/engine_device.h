// A device with the engine that ships: its queue, scheduler, pages and prefix cache on an executor
// that computes nothing and takes the time that a calibrated model says. A step is run when it
// begins and told when it is over; what comes meanwhile is heard after it, as a node's mailbox is.
// An engine takes so many requests into its queue; the rest waits before it, in order.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "engine/engine.h"
#include "sim/device.h"

namespace tg::sim {

class EngineDevice final : public Device {
 public:
  EngineDevice(const DeviceModel& model, u64 seed);
  ~EngineDevice() override;

  bool submit(const DeviceJob& job) override;
  void cancel(u64 id) override;
  void fund(u64 id, i64 output_tokens, bool is_final) override;
  std::vector<std::pair<u64, i64>> crash() override;
  i64 begin_step(i64 now_ns) override;
  void end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished) override;

  i64 running() const override { return static_cast<i64>(jobs_.size()) - waiting(); }
  // One that was cancelled while it waited counts until the next step.
  i64 waiting() const override;
  i64 keys() const override;
  i64 computed_tokens() const override;
  i64 cached_tokens() const override;
  i64 preemptions() const override;
  i64 produced(u64 id) const override;

 private:
  class World;  // its clock and its executor
  struct Job {
    DeviceJob asked;
    bool is_with_engine = false;
    bool is_final = false;  // nothing will be added to its funds
    i64 produced = 0;
    f64 joules = 0;
  };
  // What engines before the last crash did.
  struct Totals {
    u64 computed = 0;
    u64 cached = 0;
    u64 preemptions = 0;
  };

  void start();
  engine::EngineStatus status() const {
    return engine_ ? engine_->status() : engine::EngineStatus();
  }
  Totals totals() const;
  void fill_queue();
  void hand_over(Job& job);
  bool ends_somebody() const;
  void draw();
  void forget(u64 id);

  std::unique_ptr<World> world_;
  std::unique_ptr<engine::Engine> engine_;  // none before its first request
  std::unordered_map<u64, Job> jobs_;
  std::deque<u64> outside_;    // wait before the engine's queue, or are gone from there
  i64 outside_count_ = 0;      // of those that wait
  engine::StepResult result_;  // of the step under way
  Totals before_;
};

}  // namespace tg::sim
