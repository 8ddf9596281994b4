#include "gateway/access/directory_feed.h"

#include <chrono>

#include "base/log.h"

namespace tg::gateway {

Result<std::unique_ptr<DirectoryFeed>> DirectoryFeed::start(std::unique_ptr<KeyStore> store) {
  TG_ASSIGN(std::shared_ptr<const Directory> first, store->load_directory());
  std::unique_ptr<DirectoryFeed> feed(new DirectoryFeed(std::move(store)));
  feed->current_ = std::move(first);
  feed->thread_ = std::thread([raw = feed.get()] { raw->run(); });
  return feed;
}

DirectoryFeed::~DirectoryFeed() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wakes_.notify_all();
  thread_.join();
}

std::shared_ptr<const Directory> DirectoryFeed::current() const {
  std::lock_guard lock(mutex_);
  return current_;
}

void DirectoryFeed::refresh() {
  std::unique_lock lock(mutex_);
  // A look that has begun may have missed what was just written; the one after it cannot.
  u64 wanted = looks_ + 2;
  looks_wanted_ = std::max(looks_wanted_, wanted);
  wakes_.notify_all();
  looked_.wait(lock, [&] { return looks_ >= wanted || is_stopping_; });
}

void DirectoryFeed::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    lock.unlock();
    look();
    lock.lock();
    ++looks_;
    looked_.notify_all();
    wakes_.wait_for(lock, std::chrono::milliseconds(kPollMs),
                    [&] { return is_stopping_ || looks_wanted_ > looks_; });
  }
  looked_.notify_all();
}

// A busy or unreadable file must not lock everyone out: the last good directory stays in force.
void DirectoryFeed::look() {
  Result<bool> changed = store_->take_changes();
  if (changed.ok() && !*changed) return;
  Result<std::shared_ptr<const Directory>> fresh =
      changed.ok() ? store_->load_directory()
                   : Result<std::shared_ptr<const Directory>>(changed.error());
  if (!fresh.ok()) {
    log_warn("keys", "gateway.db could not be read, its last state stays in force: {}",
             fresh.error().message);
    return;
  }
  std::lock_guard lock(mutex_);
  current_ = std::move(*fresh);
  version_.fetch_add(1, std::memory_order_release);
}

}  // namespace tg::gateway
