// Keeps the directory up to date: one thread that looks every kPollMs whether gateway.db was
// changed by whoever (an SQLite counter says so without reading a table), reads it anew if so, and
// publishes the result. The event loop never waits for a disk.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "gateway/access/directory.h"
#include "gateway/keys.h"

namespace tg::gateway {

class DirectoryFeed {
 public:
  static constexpr i64 kPollMs = 100;

  // Reads the directory before it returns. Owns the store, which only its thread uses from then on.
  static Result<std::unique_ptr<DirectoryFeed>> start(std::unique_ptr<KeyStore> store);
  ~DirectoryFeed();
  DirectoryFeed(const DirectoryFeed&) = delete;
  DirectoryFeed& operator=(const DirectoryFeed&) = delete;

  // Thread-safe. Counts up with every directory published.
  u64 version() const { return version_.load(std::memory_order_acquire); }
  // Shared, because requests under way still use an older one.
  std::shared_ptr<const Directory> current() const;
  // Waits until what was written before is published, or the file could not be read.
  void refresh();

 private:
  explicit DirectoryFeed(std::unique_ptr<KeyStore> store) : store_(std::move(store)) {}
  void run();
  void look();

  std::unique_ptr<KeyStore> store_;  // The thread's.

  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  std::condition_variable looked_;
  std::shared_ptr<const Directory> current_;
  u64 looks_wanted_ = 0;
  u64 looks_ = 0;
  bool is_stopping_ = false;
  std::atomic<u64> version_{0};
  std::thread thread_;
};

}  // namespace tg::gateway
