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
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return started_ - ended_ < kJobsMax; });
    jobs_[started_++ % kJobsMax] = std::move(job);
  }
  changed_.notify_all();
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void CommitThread::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return started_ == ended_; });
}

void CommitThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_ending_ || started_ != ended_; });
    if (started_ == ended_) return;
    // Nobody touches the job while it has not ended.
    std::function<void()>& job = jobs_[ended_ % kJobsMax];
    lock.unlock();
    job();
    lock.lock();
    job = nullptr;
    ++ended_;
    changed_.notify_all();
  }
}

}  // namespace tg::ledger
