// A supplier for tests whose tokens follow from the prompt, at a pace that is set: no model.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "fleet/supplier.h"

namespace tg::node {

// The token after a sequence that ends in `last`.
inline TokenId next_token(TokenId last) {
  return (last * 31 + 7) % 1'000;
}

class ScriptedSupplier final : public fleet::Supplier {
 public:
  explicit ScriptedSupplier(i64 pause_us) : pause_us_(pause_us), worker_([this] { run(); }) {}
  ~ScriptedSupplier() override {
    is_stopping_ = true;
    worker_.join();
  }

  Status submit(fleet::SupplyRequest request) override {
    std::lock_guard lock(mutex_);
    if (is_full_) return Error{Code::kUnavailable, "full"};
    ++submitted_;
    u64 id = request.id;
    active_.emplace(id, Active{.request = std::move(request)});
    return {};
  }
  void cancel(u64 id) override {
    std::lock_guard lock(mutex_);
    ++cancelled_;
    auto found = active_.find(id);
    if (found != active_.end()) found->second.is_cancelled = true;
  }
  fleet::SupplierLoad load() const override {
    std::lock_guard lock(mutex_);
    fleet::SupplierLoad load;
    load.running = static_cast<i64>(active_.size());
    load.context_max = 10'000;
    load.step.ns_per_step = 1'000.0 * static_cast<f64>(pause_us_);
    return load;
  }
  void set_full(bool is_full) { is_full_ = is_full; }
  // Claims this many output tokens more than it gives.
  void set_lie(i64 tokens) { lie_ = tokens; }
  i64 submitted() const { return submitted_; }
  i64 cancelled() const { return cancelled_; }

 private:
  struct Active {
    fleet::SupplyRequest request;
    i64 sent = 0;
    bool is_cancelled = false;
  };

  void run() {
    while (!is_stopping_) {
      {
        std::lock_guard lock(mutex_);
        for (auto i = active_.begin(); i != active_.end();) {
          i = step(i->second) ? active_.erase(i) : std::next(i);
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us_));
    }
  }
  // True if it was the last.
  bool step(Active& active) {
    fleet::SupplierEvent event;
    event.request = active.request.id;
    bool is_whole = active.sent >= active.request.max_tokens;
    if (!active.is_cancelled && !is_whole) {
      TokenId token = next_token(active.request.prompt.back());
      active.request.prompt.push_back(token);
      event.tokens.push_back(token);
      ++active.sent;
      active.request.events->try_push(event);
      return false;
    }
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason =
        active.is_cancelled ? fleet::FinishReason::kCancelled : fleet::FinishReason::kLength;
    event.usage.prompt_tokens = static_cast<i64>(active.request.prompt.size()) - active.sent;
    event.usage.output_tokens = active.sent + lie_;
    active.request.events->try_push(event);
    return true;
  }

  const i64 pause_us_;
  mutable std::mutex mutex_;
  std::map<u64, Active> active_;
  std::atomic<bool> is_full_ = false;
  std::atomic<i64> lie_ = 0;
  std::atomic<i64> submitted_ = 0;
  std::atomic<i64> cancelled_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::thread worker_;
};

}  // namespace tg::node
