// Mailbox<T>: a bounded queue of values between threads, many writers and one reader. The reader
// either waits (an engine loop) or watches an eventfd from its own event loop (a gateway's
// io_context), so that no layer calls up into another.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/types.h"
#include "env/wakeup.h"

namespace tg {

template <typename T>
class Mailbox {
 public:
  // REQUIRES: capacity > 0.
  explicit Mailbox(i64 capacity) : capacity_(capacity) { TG_ASSERT(capacity > 0); }

  // False if the mailbox is full or closed; the value is then untouched.
  bool try_push(T& value) {
    std::lock_guard lock(mutex_);
    if (closed_ || static_cast<i64>(values_.size()) >= capacity_) return false;
    values_.push_back(std::move(value));
    signal();
    return true;
  }

  // Waits while full; false if the mailbox was closed.
  bool push(T value) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return closed_ || static_cast<i64>(values_.size()) < capacity_; });
    if (closed_) return false;
    values_.push_back(std::move(value));
    signal();
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

  // Readable while values wait; for an event loop to watch, never to read.
  int fd() const { return wakeup_.fd(); }

 private:
  void signal() {
    not_empty_.notify_one();
    wakeup_.raise();
  }
  void take(std::vector<T>& out) {
    for (T& value : values_) out.push_back(std::move(value));
    values_.clear();
    wakeup_.clear();
    not_full_.notify_all();
  }

  const i64 capacity_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::deque<T> values_;
  bool closed_ = false;
  Wakeup wakeup_;
};

}  // namespace tg
