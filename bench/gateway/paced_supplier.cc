#include "bench/gateway/paced_supplier.h"

#include <algorithm>
#include <chrono>

namespace tg::bench {

PacedSupplier::PacedSupplier(i64 interval_ms)
    : interval_ms_(interval_ms),
      slots_(static_cast<std::size_t>(std::max<i64>(1, interval_ms))),
      thread_([this] { run(); }) {}

PacedSupplier::~PacedSupplier() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  thread_.join();
}

Status PacedSupplier::submit(fleet::SupplyRequest request) {
  std::lock_guard lock(mutex_);
  u64 id = request.id;
  Stream stream{.request = std::move(request), .sent = 0, .slot = slot_};
  bool goes_on = send_next(stream, interval_ms_ == 0 ? stream.request.max_tokens : 1);
  if (!goes_on) return {};
  slots_[slot_].push_back(id);
  streams_.emplace(id, std::move(stream));
  return {};
}

void PacedSupplier::cancel(u64 id) {
  std::lock_guard lock(mutex_);
  std::map<u64, Stream>::iterator found = streams_.find(id);
  if (found == streams_.end()) return;
  end(found->second, fleet::FinishReason::kCancelled);
  streams_.erase(found);
}

fleet::SupplierLoad PacedSupplier::load() const {
  std::lock_guard lock(mutex_);
  fleet::SupplierLoad load;
  load.running = static_cast<i64>(streams_.size());
  load.context_max = 1 << 20;
  return load;
}

void PacedSupplier::run() {
  std::chrono::steady_clock::time_point due = std::chrono::steady_clock::now();
  for (;;) {
    due += std::chrono::milliseconds(1);
    std::this_thread::sleep_until(due);
    std::lock_guard lock(mutex_);
    if (is_stopping_) return;
    send_due();
  }
}

void PacedSupplier::send_due() {
  slot_ = (slot_ + 1) % slots_.size();
  std::vector<u64>& ids = slots_[slot_];
  std::size_t kept = 0;
  for (u64 id : ids) {
    std::map<u64, Stream>::iterator found = streams_.find(id);
    if (found == streams_.end()) continue;
    if (send_next(found->second, 1)) {
      ids[kept++] = id;
    } else {
      streams_.erase(found);
    }
  }
  ids.resize(kept);
}

bool PacedSupplier::send_next(Stream& stream, i64 count) {
  const std::vector<TokenId>& prompt = stream.request.prompt;
  fleet::SupplierEvent event;
  event.request = stream.request.id;
  // The middle of the prompt: its ends are the template's marks.
  std::size_t quarter = prompt.size() / 4;
  std::size_t middle = std::max<std::size_t>(1, prompt.size() - 2 * quarter);
  for (i64 i = 0; i < count; ++i, ++stream.sent) {
    event.tokens.push_back(prompt[quarter + static_cast<std::size_t>(stream.sent) % middle]);
  }
  bool is_taken = stream.request.events->try_push(event);
  bool is_last = stream.sent >= stream.request.max_tokens;
  if (is_taken && !is_last) return true;
  end(stream, is_last ? fleet::FinishReason::kLength : fleet::FinishReason::kCancelled);
  return false;
}

void PacedSupplier::end(Stream& stream, fleet::FinishReason reason) {
  fleet::SupplierEvent last;
  last.request = stream.request.id;
  last.kind = fleet::SupplierEvent::Kind::kFinished;
  last.reason = reason;
  last.usage.prompt_tokens = static_cast<i64>(stream.request.prompt.size());
  last.usage.output_tokens = stream.sent;
  stream.request.events->try_push(last);
}

}  // namespace tg::bench
