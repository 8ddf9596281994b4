// A thread beside a ledger's writer that waits for the disk in its place: one job at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace tg::ledger {

class CommitThread {
 public:
  CommitThread() = default;
  // Finishes its job.
  ~CommitThread();
  CommitThread(const CommitThread&) = delete;
  CommitThread& operator=(const CommitThread&) = delete;

  // Runs the job on the thread, which the first one makes. What the caller did before, the job
  // sees. REQUIRES: no job is running.
  void start(std::function<void()> job);
  // Until the job that was started last has ended; what it did, the caller sees then.
  void wait();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> job_;  // Empty: none is running.
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace tg::ledger
