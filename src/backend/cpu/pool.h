// Fork-join threads for kernels: run() hands every part of a region to one thread and returns when
// all are done. Workers spin for a while, then park in the kernel: a decode step is some hundred
// regions a few microseconds apart, and an idle engine must cost nothing. Parts are static, so who
// computes what never depends on timing.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/types.h"

namespace tg::backend::cpu {

class Pool {
 public:
  // part: which of `parts` shares to do. Must not throw and must not call run().
  using Task = void (*)(const void* context, i32 part, i32 parts);

  // REQUIRES: threads >= 1. Starts threads - 1 workers; the caller of run() is the last one.
  explicit Pool(i32 threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  i32 threads() const { return threads_; }

  // Calls task(context, part, parts) for every part in [0, parts). One caller at a time.
  // REQUIRES: 1 <= parts <= threads().
  void run(Task task, const void* context, i32 parts);

  // `body` is called as body(part, parts); it outlives the call because run() joins.
  template <typename Body>
  void run(const Body& body, i32 parts) {
    run([](const void* context, i32 part, i32 n) { (*static_cast<const Body*>(context))(part, n); },
        &body, parts);
  }

 private:
  void work(i32 index);

  i32 threads_;
  Task task_ = nullptr;
  const void* context_ = nullptr;
  i32 parts_ = 0;
  bool stop_ = false;
  // Written by run() to publish the four fields above; each step of 1 is one region.
  alignas(64) std::atomic<u32> region_{0};
  alignas(64) std::atomic<i32> pending_{0};
  std::vector<std::thread> workers_;
};

}  // namespace tg::backend::cpu
