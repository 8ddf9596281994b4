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
  load.energy.request_joules += before.energy.request_joules;
  load.energy.idle_joules += before.energy.idle_joules;
}

// Starts one, with what room the others leave or make.
Result<std::unique_ptr<LocalEngine>> start_in(RestingGroup* group,
                                              const RestingEngine::Start& start) {
  for (;;) {
    Result<std::unique_ptr<LocalEngine>> engine = start();
    if (engine.ok() || engine.error().code != Code::kUnavailable || group == nullptr) return engine;
    if (group->make_room() != RestingGroup::Room::kMade) return engine;
  }
}

}  // namespace

void RestingGroup::add(RestingEngine& engine) {
  std::lock_guard lock(mutex_);
  members_.push_back(&engine);
}

void RestingGroup::remove(RestingEngine& engine) {
  std::lock_guard lock(mutex_);
  std::erase(members_, &engine);
}

RestingGroup::Room RestingGroup::make_room() {
  std::lock_guard lock(mutex_);
  std::ranges::sort(members_, {}, [](const RestingEngine* m) { return m->used_ns_.load(); });
  Room best = Room::kNone;
  for (RestingEngine* member : members_) {
    Room room = member->rest(0);
    if (room == Room::kMade) return room;
    if (room == Room::kBusy) best = room;
  }
  return best;
}

Result<std::unique_ptr<RestingEngine>> RestingEngine::start(Start start, const Options& options,
                                                            Clock& clock) {
  TG_ASSERT(options.idle_ns > 0);
  TG_ASSIGN(std::unique_ptr<LocalEngine> engine, start_in(options.group.get(), start));
  std::unique_ptr<RestingEngine> out(
      new RestingEngine(std::move(start), options, clock, std::move(engine)));
  if (options.group) options.group->add(*out);
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
  if (options_.group) options_.group->remove(*this);
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
      rest(options_.idle_ns);
    }
    lock.lock();
  }
}

// Whoever comes while the engine starts waits too; from the exchange on they go straight to it.
void RestingEngine::wake() {
  i64 begun_ns = clock_.monotonic_ns();
  Result<std::unique_ptr<LocalEngine>> engine = start_in(options_.group.get(), start_);
  if (!engine.ok() && waits_for_room(engine.error())) return;
  room_wanted_ns_ = -1;
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

// Requests wait on while others are busy, for a time: one of them may become free.
bool RestingEngine::waits_for_room(const Error& error) {
  if (error.code != Code::kUnavailable || !options_.group) return false;
  if (options_.group->make_room() == RestingGroup::Room::kNone) return false;
  i64 now_ns = clock_.monotonic_ns();
  if (room_wanted_ns_ < 0) room_wanted_ns_ = now_ns;
  return now_ns - room_wanted_ns_ < options_.room_wait_ns;
}

RestingGroup::Room RestingEngine::rest(i64 idle_ns) {
  std::unique_ptr<LocalEngine> ended;
  {
    // Alone with it: nobody submits between the question and the answer.
    std::unique_lock lock(engine_mutex_);
    if (engine_ == nullptr) return RestingGroup::Room::kNone;
    i64 now_ns = clock_.monotonic_ns();
    bool is_open = engine_->open() > 0;
    if (is_open) used_ns_ = now_ns;
    if (is_open || now_ns - used_ns_ < idle_ns) return RestingGroup::Room::kBusy;
    fleet::SupplierLoad load = engine_->load();
    add_totals(load, before_);
    load.kv_pages_free = load.kv_pages_total;
    load.running = load.waiting = 0;
    before_ = load;
    ended = std::move(engine_);
  }
  ended.reset();
  log_info("node", "an engine on {} rests: {}", device_name_,
           idle_ns > 0 ? "nobody asks for it" : "another one needs its room");
  return RestingGroup::Room::kMade;
}

}  // namespace tg::node
