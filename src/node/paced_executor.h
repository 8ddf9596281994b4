// A device that is slower than this one: its steps take at least so long. For demonstrations and
// tests of pools of unequal devices on one machine, whose cores it leaves alone meanwhile.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "backend/executor.h"
#include "env/clock.h"

namespace tg::node {

class PacedExecutor final : public backend::Executor {
 public:
  // The clock must outlive it.
  PacedExecutor(std::unique_ptr<backend::Executor> device, i64 step_ns_min, Clock& clock)
      : device_(std::move(device)), step_ns_min_(step_ns_min), clock_(clock) {}

  Result<std::span<const f32>> run(const backend::StepBatch& batch) override {
    i64 began_ns = clock_.monotonic_ns();
    Result<std::span<const f32>> out = device_->run(batch);
    i64 left_ns = step_ns_min_ - (clock_.monotonic_ns() - began_ns);
    if (left_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(left_ns));
    return out;
  }
  std::size_t results() const override { return device_->results(); }
  backend::ResultView result(std::size_t i) const override { return device_->result(i); }
  std::span<const u64> expert_hits() const override { return device_->expert_hits(); }
  std::size_t entry() const override { return device_->entry(); }
  Status copy_pages(std::span<const backend::PageCopy> copies) override {
    return device_->copy_pages(copies);
  }
  i64 vocabulary() const override { return device_->vocabulary(); }
  i64 page_tokens() const override { return device_->page_tokens(); }
  i64 page_bytes() const override { return device_->page_bytes(); }
  const backend::ExecutorLimits& limits() const override { return device_->limits(); }
  std::string device_name() const override { return device_->device_name() + " paced"; }

 private:
  std::unique_ptr<backend::Executor> device_;
  const i64 step_ns_min_;
  Clock& clock_;
};

}  // namespace tg::node
