// A supplier for tests whose every reply is written down beforehand: no model, real threads.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fleet/supplier.h"

namespace tg::gateway {

// What one submitted request is answered with. Token ids are bytes of `text` (see fake_model.h).
struct Script {
  std::string text;
  bool echo_prompt = false;  // Reply with the prompt instead of `text`.
  i64 repeat = 1;            // Times `text` is sent.
  i64 tokens_per_event = 1;
  i64 pause_us = 0;           // Between events.
  std::vector<TokenId> tail;  // After the text, e.g. the end-of-generation token.
  fleet::FinishReason reason = fleet::FinishReason::kStop;
  bool hang = false;           // Say nothing more until cancelled.
  bool ignore_cancel = false;  // Say nothing more, ever.
  bool ranks_by_seed = false;  // Log probabilities are -(seed % 3).
  std::optional<Error> refusal;
  std::vector<f32> embedding;  // Of who asks for one; its last number becomes the prompt's length.
};

class FakeSupplier final : public fleet::Supplier {
 public:
  FakeSupplier() : worker_([this] { run(); }) {}
  ~FakeSupplier() override {
    is_stopping_ = true;
    worker_.join();
  }

  void set_script(Script script) {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  // Requests as submitted, and the ids cancelled so far.
  std::vector<fleet::SupplyRequest> submitted() {
    std::lock_guard lock(mutex_);
    return submitted_;
  }
  std::vector<u64> cancelled() {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }
  i64 emitted_tokens() {
    std::lock_guard lock(mutex_);
    return emitted_;
  }

  Status submit(fleet::SupplyRequest request) override {
    std::lock_guard lock(mutex_);
    if (script_.refusal) return *script_.refusal;
    Active active{.request = request, .script = script_};
    std::string text = script_.text;
    if (script_.echo_prompt) {
      active.ids = request.prompt;
    } else {
      for (i64 i = 0; i < script_.repeat; ++i) {
        for (char c : text) active.ids.push_back(static_cast<u8>(c));
      }
    }
    active.ids.insert(active.ids.end(), script_.tail.begin(), script_.tail.end());
    submitted_.push_back(request);
    active_.emplace(request.id, std::move(active));
    return {};
  }
  void cancel(u64 id) override {
    std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
    std::map<u64, Active>::iterator found = active_.find(id);
    if (found != active_.end()) found->second.is_cancelled = true;
  }
  fleet::SupplierLoad load() const override {
    return {.running = 3, .waiting = 2, .kv_pages_total = 100, .kv_pages_free = 75};
  }

 private:
  struct Active {
    fleet::SupplyRequest request;
    Script script;
    std::vector<TokenId> ids;
    i64 sent = 0;
    std::chrono::steady_clock::time_point next = {};
    bool is_cancelled = false;
  };

  void run() {
    while (!is_stopping_) {
      bool was_busy = false;
      {
        std::lock_guard lock(mutex_);
        for (std::map<u64, Active>::iterator i = active_.begin(); i != active_.end();) {
          bool is_over = false;
          was_busy = step(i->second, is_over) || was_busy;
          i = is_over ? active_.erase(i) : std::next(i);
        }
      }
      if (!was_busy) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  // One event of one request; true if something was sent.
  bool step(Active& active, bool& is_over) {
    if (active.script.ignore_cancel) return false;
    i64 total = static_cast<i64>(active.ids.size());
    bool is_end = active.sent >= std::min(total, active.request.max_tokens);
    if (active.is_cancelled || (is_end && !active.script.hang)) {
      is_over = true;
      finish(active, is_end);
      return true;
    }
    if (is_end || std::chrono::steady_clock::now() < active.next) return false;
    send_tokens(active, std::min(total, active.request.max_tokens));
    return true;
  }

  void send_tokens(Active& active, i64 end) {
    fleet::SupplierEvent event;
    event.request = active.request.id;
    for (i64 i = 0; i < active.script.tokens_per_event && active.sent < end; ++i, ++active.sent) {
      TokenId id = active.ids[active.sent];
      event.tokens.push_back(id);
      if (active.request.sampling.logprobs < 0) continue;
      f32 by_seed = -static_cast<f32>(active.request.sampling.seed % 3);
      event.logprobs.push_back({id, active.script.ranks_by_seed ? by_seed : -0.5f});
      event.top_logprobs.push_back({{id, -0.5f}, {'x', -2.0f}});
    }
    emitted_ += static_cast<i64>(event.tokens.size());
    active.next =
        std::chrono::steady_clock::now() + std::chrono::microseconds(active.script.pause_us);
    active.request.events->try_push(event);
  }

  void finish(const Active& active, bool is_end) {
    fleet::SupplierEvent event;
    event.request = active.request.id;
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason = active.script.reason;
    bool is_cut = active.sent < static_cast<i64>(active.ids.size());
    if (is_end && is_cut && !active.request.is_embedding)
      event.reason = fleet::FinishReason::kLength;
    if (active.is_cancelled) event.reason = fleet::FinishReason::kCancelled;
    if (event.reason == fleet::FinishReason::kError) event.error = "scripted failure";
    event.usage.prompt_tokens = static_cast<i64>(active.request.prompt.size());
    if (active.request.is_embedding && event.reason == fleet::FinishReason::kStop) {
      event.embedding = active.script.embedding;
      if (!event.embedding.empty())
        event.embedding.back() = static_cast<f32>(active.request.prompt.size());
    }
    event.usage.cached_tokens = 5;
    event.usage.output_tokens = active.sent;
    event.usage.actual_atto_st = 2'000'000'000;
    active.request.events->try_push(event);
  }

  std::mutex mutex_;
  Script script_;
  std::map<u64, Active> active_;
  std::vector<fleet::SupplyRequest> submitted_;
  std::vector<u64> cancelled_;
  i64 emitted_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::thread worker_;
};

}  // namespace tg::gateway
