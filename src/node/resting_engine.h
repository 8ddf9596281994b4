// An engine that gives its memory back while nobody asks for it: ended after a time without
// requests, started anew by the next one, which waits until it is there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "env/clock.h"
#include "node/local_engine.h"

namespace tg::node {

class RestingEngine;

// Engines that make room for one another. Thread-safe; outlives its members.
class RestingGroup {
 public:
  enum class Room {
    kMade,  // one that had no request open has ended
    kBusy,  // all that run have
    kNone,  // none runs
  };
  // Ends the one that was used longest ago.
  Room make_room();

 private:
  friend class RestingEngine;
  void add(RestingEngine& engine);
  void remove(RestingEngine& engine);

  std::mutex mutex_;
  std::vector<RestingEngine*> members_;
};

class RestingEngine final : public LocalEngine {
 public:
  using Start = std::function<Result<std::unique_ptr<LocalEngine>>()>;
  struct Options {
    i64 idle_ns = 0;      // without requests before it ends; > 0
    i64 waiting_max = 0;  // requests that wait for it to start
    // Null, or those that end when this one starts and finds no room (kUnavailable).
    std::shared_ptr<RestingGroup> group = nullptr;
    i64 room_wait_ns = 60'000'000'000;  // how long requests wait while all of these are busy
  };

  // Starts the engine a first time, so that what is wrong with it shows now; `start` is called
  // again on a thread of this one. What it uses and the clock must outlive the supplier.
  static Result<std::unique_ptr<RestingEngine>> start(Start start, const Options& options,
                                                      Clock& clock);
  // Cancels what waits and what runs, and joins.
  ~RestingEngine() override;
  RestingEngine(const RestingEngine&) = delete;
  RestingEngine& operator=(const RestingEngine&) = delete;

  // While the engine rests, what it would refuse comes as a last event instead.
  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  Status extend(u64 id, i64 funded_tokens, bool is_final) override;
  // Totals are of all engines there have been.
  fleet::SupplierLoad load() const override;

  const std::string& device_name() const override { return device_name_; }
  i64 context_max() const override { return context_max_; }
  i64 open() const override;

 private:
  RestingEngine(Start start, const Options& options, Clock& clock,
                std::unique_ptr<LocalEngine> engine);
  friend class RestingGroup;
  void run();
  void wake();
  bool waits_for_room(const Error& error);
  // Ends the engine if it runs, has no request open and none came for `idle_ns`.
  RestingGroup::Room rest(i64 idle_ns);

  const Start start_;
  const Options options_;
  Clock& clock_;
  const std::string device_name_;
  const i64 context_max_;

  // Who uses the engine holds its mutex shared; the thread below, which alone makes and ends it,
  // holds it alone.
  mutable std::shared_mutex engine_mutex_;
  std::unique_ptr<LocalEngine> engine_;  // none: it rests
  fleet::SupplierLoad before_;           // what those before it had done, and their last figures
  std::atomic<i64> used_ns_;
  i64 room_wanted_ns_ = -1;  // since when there is none; of the thread

  // Taken after the other one.
  mutable std::mutex waiting_mutex_;
  std::condition_variable changed_;
  std::deque<fleet::SupplyRequest> waiting_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace tg::node
