#include "backend/cpu/pool.h"

#include <immintrin.h>

#include "base/assert.h"

namespace tg::backend::cpu {

namespace {

// Some tens of microseconds of pauses: longer than the host code between two regions of a step,
// shorter than what anybody would notice on an idle machine.
constexpr i32 kSpinsMax = 500;

// Returns when *value is no longer `old`.
template <typename T>
void wait_while(const std::atomic<T>& value, T old) {
  for (i32 i = 0; i < kSpinsMax; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(i32 threads) : threads_(threads) {
  TG_ASSERT(threads >= 1);
  workers_.reserve(static_cast<std::size_t>(threads - 1));
  for (i32 i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stop_ = true;
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(Task task, const void* context, i32 parts) {
  TG_ASSERT(parts >= 1 && parts <= threads_);
  if (parts == 1) {
    task(context, 0, 1);
    return;
  }
  task_ = task;
  context_ = context;
  parts_ = parts;
  pending_.store(threads_ - 1, std::memory_order_relaxed);
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();
  task(context, 0, parts);
  for (i32 left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire)) {
    wait_while(pending_, left);
  }
}

void Pool::work(i32 index) {
  u32 seen = 0;
  for (;;) {
    wait_while(region_, seen);
    ++seen;  // run() joins before it publishes again, so that no region is ever skipped.
    if (stop_) return;
    if (index < parts_) task_(context_, index, parts_);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
  }
}

}  // namespace tg::backend::cpu
