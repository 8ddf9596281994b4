// A thread beside a ledger's writer that does a part of a commit in its place: one job at a time,
// and two more that are ready when it ends, so that neither disk nor writer waits for the other.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/types.h"

namespace tg::ledger {

class CommitThread {
 public:
  CommitThread() = default;
  // Finishes its jobs.
  ~CommitThread();
  CommitThread(const CommitThread&) = delete;
  CommitThread& operator=(const CommitThread&) = delete;

  static constexpr u64 kJobsMax = 3;

  // Runs the job on the thread, which the first one makes, after those before it; waits until fewer
  // than kJobsMax of them have not ended. What the caller did before, the job sees.
  void start(std::function<void()> job);
  // Until every job has ended; what they did, the caller sees then.
  void wait();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<std::function<void()>, kJobsMax> jobs_;
  u64 started_ = 0, ended_ = 0;  // A job stays in its place until it has ended.
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace tg::ledger
