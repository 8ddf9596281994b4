#include "node/resting_engine.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"

namespace tg::node {

namespace {

constexpr std::chrono::milliseconds kLookEvery{500};

fleet::Fault fault_of(Code code) {
  if (code == Code::kUnavailable) return fleet::Fault::kBusy;
  bool is_asked = code == Code::kInvalid || code == Code::kUnsupported || code == Code::kLimit;
  return is_asked ? fleet::Fault::kInvalid : fleet::Fault::kBroken;
}

// The last event of a request that no engine has seen.
void finish(const fleet::SupplyRequest& request, fleet::FinishReason reason,
            const Error* error = nullptr) {
  fleet::SupplierEvent event;
  event.request = request.id;
  event.kind = fleet::SupplierEvent::Kind::kFinished;
  event.reason = reason;
  if (error != nullptr) {
    event.error = error->message;
    event.fault = fault_of(error->code);
  }
  if (!request.events->try_push(event))
    log_warn("node", "request {}: its reader is gone", request.id);
}

void add_totals(fleet::SupplierLoad& load, const fleet::SupplierLoad& before) {
  load.steps += before.steps;
  load.prompt_tokens += before.prompt_tokens;
  load.cached_tokens += before.cached_tokens;
  load.output_tokens += before.output_tokens;
}

}  // namespace

Result<std::unique_ptr<RestingEngine>> RestingEngine::start(Start start, const Options& options,
                                                            Clock& clock) {
  TG_ASSERT(options.idle_ns > 0);
  TG_ASSIGN(std::unique_ptr<LocalEngine> engine, start());
  std::unique_ptr<RestingEngine> out(
      new RestingEngine(std::move(start), options, clock, std::move(engine)));
  out->thread_ = std::thread([raw = out.get()] { raw->run(); });
  return out;
}

RestingEngine::RestingEngine(Start start, const Options& options, Clock& clock,
                             std::unique_ptr<LocalEngine> engine)
    : start_(std::move(start)),
      options_(options),
      clock_(clock),
      device_name_(engine->device_name()),
      context_max_(engine->context_max()),
      engine_(std::move(engine)),
      used_ns_(clock.monotonic_ns()) {}

RestingEngine::~RestingEngine() {
  {
    std::lock_guard lock(waiting_mutex_);
    is_stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  for (const fleet::SupplyRequest& request : waiting_)
    finish(request, fleet::FinishReason::kCancelled);
}

Status RestingEngine::submit(fleet::SupplyRequest request) {
  std::shared_lock lock(engine_mutex_);
  used_ns_ = clock_.monotonic_ns();
  if (engine_ != nullptr) return engine_->submit(std::move(request));
  TG_ASSERT(request.events != nullptr);
  {
    std::lock_guard waiting_lock(waiting_mutex_);
    if (static_cast<i64>(waiting_.size()) >= options_.waiting_max) {
      return Error{Code::kUnavailable, std::to_string(options_.waiting_max) +
                                           " requests wait already for the model to be loaded"};
    }
    waiting_.push_back(std::move(request));
  }
  changed_.notify_one();
  return {};
}

void RestingEngine::cancel(u64 id) {
  std::shared_lock lock(engine_mutex_);
  if (engine_ != nullptr) return engine_->cancel(id);
  std::lock_guard waiting_lock(waiting_mutex_);
  auto found = std::ranges::find(waiting_, id, &fleet::SupplyRequest::id);
  if (found == waiting_.end()) return;
  finish(*found, fleet::FinishReason::kCancelled);
  waiting_.erase(found);
}

Status RestingEngine::extend(u64 id, i64 funded_tokens, bool is_final) {
  std::shared_lock lock(engine_mutex_);
  if (engine_ != nullptr) return engine_->extend(id, funded_tokens, is_final);
  std::lock_guard waiting_lock(waiting_mutex_);
  auto found = std::ranges::find(waiting_, id, &fleet::SupplyRequest::id);
  if (found == waiting_.end()) return {};
  found->funded_tokens = std::max(found->funded_tokens, funded_tokens);
  found->is_funding_final |= is_final;
  return {};
}

fleet::SupplierLoad RestingEngine::load() const {
  std::shared_lock lock(engine_mutex_);
  if (engine_ != nullptr) {
    fleet::SupplierLoad load = engine_->load();
    add_totals(load, before_);
    return load;
  }
  fleet::SupplierLoad load = before_;
  load.is_resting = true;
  std::lock_guard waiting_lock(waiting_mutex_);
  load.waiting = static_cast<i64>(waiting_.size());
  return load;
}

i64 RestingEngine::open() const {
  std::shared_lock lock(engine_mutex_);
  if (engine_ != nullptr) return engine_->open();
  std::lock_guard waiting_lock(waiting_mutex_);
  return static_cast<i64>(waiting_.size());
}

void RestingEngine::run() {
  std::unique_lock lock(waiting_mutex_);
  while (!is_stopping_) {
    changed_.wait_for(lock, std::min<std::chrono::nanoseconds>(
                                kLookEvery, std::chrono::nanoseconds(options_.idle_ns)));
    bool is_wanted = !waiting_.empty() && !is_stopping_;
    lock.unlock();
    if (is_wanted) {
      wake();
    } else {
      rest_if_idle();
    }
    lock.lock();
  }
}

// Whoever comes while the engine starts waits too; from the exchange on they go straight to it.
void RestingEngine::wake() {
  i64 begun_ns = clock_.monotonic_ns();
  Result<std::unique_ptr<LocalEngine>> engine = start_();
  std::unique_lock lock(engine_mutex_);
  std::deque<fleet::SupplyRequest> waiting;
  {
    std::lock_guard waiting_lock(waiting_mutex_);
    waiting.swap(waiting_);
  }
  if (!engine.ok()) {
    log_error("node", "the engine cannot be started again: {}", engine.error().message);
    for (const fleet::SupplyRequest& request : waiting)
      finish(request, fleet::FinishReason::kError, &engine.error());
    return;
  }
  log_info("node", "an engine on {} was started for {} requests in {} ms", device_name_,
           waiting.size(), (clock_.monotonic_ns() - begun_ns) / 1'000'000);
  engine_ = std::move(engine).value();
  used_ns_ = clock_.monotonic_ns();
  for (fleet::SupplyRequest& request : waiting) {
    fleet::SupplyRequest named{.id = request.id, .events = request.events};
    Status submitted = engine_->submit(std::move(request));
    if (!submitted.ok()) finish(named, fleet::FinishReason::kError, &submitted.error());
  }
}

void RestingEngine::rest_if_idle() {
  std::unique_ptr<LocalEngine> ended;
  {
    // Alone with it: nobody submits between the question and the answer.
    std::unique_lock lock(engine_mutex_);
    if (engine_ == nullptr) return;
    i64 now_ns = clock_.monotonic_ns();
    if (engine_->open() > 0) used_ns_ = now_ns;
    if (now_ns - used_ns_ < options_.idle_ns) return;
    fleet::SupplierLoad load = engine_->load();
    add_totals(load, before_);
    load.kv_pages_free = load.kv_pages_total;
    load.running = load.waiting = 0;
    before_ = load;
    ended = std::move(engine_);
  }
  ended.reset();
  log_info("node", "an engine on {} rests: no requests for {} s", device_name_,
           options_.idle_ns / 1'000'000'000);
}

}  // namespace tg::node
