// A step's kernel calls as a straight list: made for one shape of step, run as often as steps have
// that shape, so that a decode step costs little more than calling its kernels by hand. The list is
// what a captured graph is to a device with a queue.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "backend/cpu/kernels/kernel.h"
#include "backend/cpu/pool.h"
#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

// Element operations below which a region costs more to fork than it saves.
inline constexpr i64 kForkWork = 131'072;

// One kernel with its arguments.
struct Call {
  Pool::Task task = nullptr;
  const void* args = nullptr;
  i64 work = 0;          // element operations, and so many more
  i64 work_per_key = 0;  // for each key of the longest sequence

  // How many of so many threads are worth waking for it.
  i32 parts(i64 context, i32 threads) const {
    return work + work_per_key * context < kForkWork ? 1 : threads;
  }
};

class CallList {
 public:
  // Allocates for programs of so many ops; add() and keep() never do.
  explicit CallList(std::size_t ops);

  void clear();

  // Appends a call; at most kCallsPerOp for each op. The arguments are copied.
  template <typename Args>
  void add(Kernel<Args> kernel, const Args& args, i64 work, i64 work_per_key = 0) {
    static_assert(sizeof(Args) <= kArgsBytes && std::is_trivially_destructible_v<Args>);
    push({.task = kernel.task,
          .args = new (take(sizeof(Args))) Args(args),
          .work = work,
          .work_per_key = work_per_key});
  }
  // A copy that lives as long as the calls; at most one for each op.
  std::span<const Tensor> keep(std::span<const Tensor> tensors);

  // Runs all, each as one fork-join region, for a step whose longest sequence has `context` keys.
  void run(Pool& pool, i64 context) const;
  // The same, by the clock: `ns` has a place for each of calls().
  void run_timed(Pool& pool, i64 context, std::span<u64> ns) const;
  std::span<const Call> calls() const { return calls_; }
  std::size_t calls_max() const { return calls_.capacity(); }

 private:
  static constexpr std::size_t kCallsPerOp = 3;
  static constexpr std::size_t kArgsBytes = 384;

  static void run_one(const Call& call, Pool& pool, i64 context);
  void push(const Call& call);
  void* take(std::size_t bytes);

  std::vector<Call> calls_;
  std::size_t capacity_;
  std::unique_ptr<std::byte[]> memory_;  // of arguments, one behind the other
  std::size_t used_ = 0;
};

}  // namespace tg::backend::cpu
