// Mailbox<T>: a bounded queue of values between threads, many writers and one reader. The reader
// either waits (an engine loop) or watches an eventfd from its own event loop (a gateway's
// io_context), so that no layer calls up into another.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/types.h"
#include "env/wakeup.h"

namespace tg {

// A reader whose thread also pushes: told so by a call, it needs no eventfd for what it hears of
// itself.
class NearReader {
 public:
  virtual ~NearReader() = default;
  // On its thread: values wait.
  virtual void look_soon() = 0;
};

template <typename T>
class Mailbox {
 public:
  // REQUIRES: capacity > 0.
  explicit Mailbox(i64 capacity) : capacity_(capacity) { TG_ASSERT(capacity > 0); }

  // False if the mailbox is full or closed; the value is then untouched.
  bool try_push(T& value) {
    bool is_first = false;
    {
      std::lock_guard lock(mutex_);
      if (closed_ || static_cast<i64>(values_.size()) >= capacity_) return false;
      is_first = values_.empty();
      values_.push_back(std::move(value));
    }
    if (is_first) signal();
    return true;
  }

  // try_push() by the reader itself, which will look without being told.
  bool try_push_quietly(T& value) {
    std::lock_guard lock(mutex_);
    if (closed_ || static_cast<i64>(values_.size()) >= capacity_) return false;
    values_.push_back(std::move(value));
    return true;
  }

  // As many values, from the first on, as there is room for, with one signal for all; how many.
  std::size_t try_push_all(std::span<T> values) {
    std::size_t taken = 0;
    bool is_first = false;
    {
      std::lock_guard lock(mutex_);
      if (closed_) return 0;
      is_first = values_.empty();
      for (; taken < values.size() && static_cast<i64>(values_.size()) < capacity_; ++taken)
        values_.push_back(std::move(values[taken]));
    }
    if (is_first && taken > 0) signal();
    return taken;
  }

  // Waits while full; false if the mailbox was closed.
  bool push(T value) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return closed_ || static_cast<i64>(values_.size()) < capacity_; });
    if (closed_) return false;
    bool is_first = values_.empty();
    values_.push_back(std::move(value));
    lock.unlock();
    if (is_first) signal();
    return true;
  }

  // Appends all waiting values to `out` without blocking and clears the eventfd.
  void drain(std::vector<T>& out) {
    std::lock_guard lock(mutex_);
    take(out);
  }

  // Waits until there is a value, the mailbox is closed, or `timeout_ns` passed; then drains.
  void wait(std::vector<T>& out, i64 timeout_ns) {
    std::unique_lock lock(mutex_);
    not_empty_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                        [&] { return closed_ || !values_.empty(); });
    take(out);
  }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    not_full_.notify_all();
    signal();
  }
  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  bool has_values() const {
    std::lock_guard lock(mutex_);
    return !values_.empty();
  }

  // Pushes on the calling thread tell `near`, until it is null again; those of other threads raise
  // the eventfd as ever.
  void set_near(NearReader* near) {
    near_thread_ = std::thread::id();
    near_ = near;
    if (near != nullptr) near_thread_ = std::this_thread::get_id();
  }

  // Readable while values wait; for an event loop to watch, never to read.
  int fd() const {
    std::lock_guard lock(mutex_);
    bool was_watched = is_watched_.exchange(true);
    if (!was_watched && (closed_ || !values_.empty())) raise();
    return wakeup_.fd();
  }

 private:
  // Once for all values that wait, and not under the lock, which the reader that it wakes wants. A
  // reader that waits has no use for the eventfd.
  void signal() {
    if (near_thread_.load(std::memory_order_relaxed) == std::this_thread::get_id())
      return near_.load()->look_soon();
    not_empty_.notify_one();
    if (is_watched_) raise();
  }
  void raise() const {
    is_raised_ = true;
    wakeup_.raise();
  }
  void take(std::vector<T>& out) {
    // A signal may come after its value has been taken: whoever it wakes finds nothing, and clears
    // it. One that is cleared here and not yet seen was of a value that is taken below.
    bool is_up = is_raised_.exchange(false) || values_.empty();
    if (is_up && is_watched_) wakeup_.clear();
    if (values_.empty()) return;
    if (out.empty()) {
      // The reader's room becomes the writers', and is used again.
      out.swap(values_);
    } else {
      for (T& value : values_) out.push_back(std::move(value));
      values_.clear();
    }
    // What a burst took is not kept for ever.
    if (values_.capacity() > kKeptMax) std::vector<T>().swap(values_);
    not_full_.notify_all();
  }

  static constexpr std::size_t kKeptMax = 1'024;

  const i64 capacity_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::vector<T> values_;
  bool closed_ = false;
  mutable Wakeup wakeup_;
  mutable std::atomic<bool> is_watched_ = false;
  mutable std::atomic<bool> is_raised_ = false;
  // Whoever finds itself here is the thread that wrote both.
  std::atomic<std::thread::id> near_thread_ = std::thread::id();
  std::atomic<NearReader*> near_ = nullptr;
};

}  // namespace tg
