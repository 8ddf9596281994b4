#include "backend/cpu/calls.h"

#include <algorithm>
#include <chrono>

#include "base/assert.h"
#include "isa/limits.h"

namespace tg::backend::cpu {

namespace {

constexpr std::size_t kTensorsBytes = static_cast<std::size_t>(isa::kOperandsMax) * sizeof(Tensor);

}  // namespace

CallList::CallList(std::size_t ops)
    : capacity_(ops * (kCallsPerOp * kArgsBytes + kTensorsBytes)),
      memory_(std::make_unique_for_overwrite<std::byte[]>(capacity_)) {
  calls_.reserve(ops * kCallsPerOp);
}

void CallList::clear() {
  calls_.clear();
  used_ = 0;
}

std::span<const Tensor> CallList::keep(std::span<const Tensor> tensors) {
  Tensor* copy = static_cast<Tensor*>(take(tensors.size_bytes()));
  std::uninitialized_copy(tensors.begin(), tensors.end(), copy);
  return {copy, tensors.size()};
}

void CallList::run_one(const Call& call, Pool& pool, i64 context) {
  i32 parts = call.parts(context, pool.threads());
  if (parts == 1) {
    call.task(call.args, 0, 1);
  } else {
    pool.run(call.task, call.args, parts);
  }
}

void CallList::run(Pool& pool, i64 context) const {
  for (const Call& call : calls_) run_one(call, pool, context);
}

void CallList::run_timed(Pool& pool, i64 context, std::span<u64> ns) const {
  TG_ASSERT(ns.size() == calls_.size());
  using Clock = std::chrono::steady_clock;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    Clock::time_point start = Clock::now();
    run_one(calls_[i], pool, context);
    ns[i] = static_cast<u64>(std::chrono::nanoseconds(Clock::now() - start).count());
  }
}

void CallList::push(const Call& call) {
  TG_ASSERT(calls_.size() < calls_.capacity());
  calls_.push_back(call);
}

void* CallList::take(std::size_t bytes) {
  constexpr std::size_t kAlign = alignof(std::max_align_t);
  void* at = memory_.get() + used_;
  used_ += (bytes + kAlign - 1) / kAlign * kAlign;
  TG_ASSERT(used_ <= capacity_);
  return at;
}

}  // namespace tg::backend::cpu
