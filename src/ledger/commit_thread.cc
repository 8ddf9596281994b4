#include "ledger/commit_thread.h"

#include <utility>

#include "base/assert.h"

namespace tg::ledger {

CommitThread::~CommitThread() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CommitThread::start(std::function<void()> job) {
  TG_ASSERT(job != nullptr);
  {
    std::lock_guard lock(mutex_);
    TG_ASSERT(job_ == nullptr);
    job_ = std::move(job);
  }
  changed_.notify_all();
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void CommitThread::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return job_ == nullptr; });
}

void CommitThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_ending_ || job_ != nullptr; });
    if (job_ == nullptr) return;
    // Nobody touches the job while it is there.
    lock.unlock();
    job_();
    lock.lock();
    job_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace tg::ledger
