// Executor: a verified program bound to one device through the backend C ABI (abi.h), ready to run
// steps. The engine's only view of hardware. One thread owns an executor; the backend forks and
// joins inside run().
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "backend/memory_budget.h"
#include "base/hash.h"
#include "base/result.h"
#include "isa/program.h"
#include "isa/reference/sampling.h"
#include "isa/weights.h"

namespace tg::backend {

// Fixed at creation: everything is allocated for these, nothing later.
struct ExecutorLimits {
  i64 tokens_max = 512;     // T of a step
  i64 sequences_max = 64;   // S
  i64 rows_max = 64;        // R
  i64 context_max = 2'048;  // keys of one sequence
  i64 kv_pages = 0;    // size of the pool; a page holds KvDecl::page_tokens tokens of every layer
  i64 swap_pages = 0;  // pages of host memory, for keys that wait; only copy_pages() reaches them
  i32 threads = 0;     // 0: one per core
  // Run the program's second entry in steps where no sequence has cached keys: fewer operations for
  // fresh prompts, but a row's last bits then depend on what shares its step (D1 instead of D2).
  bool fresh_entry = false;
  // Words of the step's sampling parameters of variable length: prompts, outputs, biases (two words
  // each) and masks (a bit per token) of all rows. Only programs with sampling parameters use it.
  i64 sample_words_max = i64{1} << 20;
  // Bytes of the device's memory that this model may take in all: weights, cache, buffers. 0: any.
  u64 memory_max = 0;
  // What it and others may take together; none: any. Must outlive the executor.
  MemoryBudget* budget = nullptr;
};

// Where packed weights are kept between starts (packed_file.h), for backends whose memory is the
// host's; others pack every time.
struct PackedFile {
  std::string path;  // "": nowhere
  Digest source{};   // names the weights' bytes without reading them all, as file, size and time do
  // Called after each weight that is packed; may be empty.
  std::function<void(u64 bytes_done, u64 bytes_total)> progress = {};
};

// One packed step; all spans borrowed for the call. Host integers of isa.md §3.
struct StepBatch {
  std::span<const i32> ids;         // [T]
  std::span<const i32> positions;   // [T], or [n,T] if main's positions are that
  std::span<const i32> cu;          // [S+1] cumulative new tokens
  std::span<const i32> past;        // [S] tokens cached before the step
  std::span<const i32> page_begin;  // [S+1] CSR into pages
  std::span<const i32> pages;       // page ids of each sequence, in order
  std::span<const i32> slots;       // [T] page*page_tokens+offset, -1: do not write
  std::span<const i32> rows;        // [R] token indices whose logits are wanted
  // [T] the parent's index among the sequence's new tokens, an earlier one; -1: the token before
  // it. Empty: chains.
  std::span<const i32> tree = {};
  // [R], for programs with sampling parameters; their logits are ignored.
  std::span<const isa::SampleRow> samples = {};
};

// One result of the entry that ran, row-major; borrowed until the next run.
struct ResultView {
  isa::DType dtype = isa::DType::kF32;  // f32 or i32
  i64 rows = 0;
  i64 columns = 0;
  const void* data = nullptr;

  // REQUIRES: dtype f32.
  std::span<const f32> floats() const {
    return {static_cast<const f32*>(data), static_cast<std::size_t>(rows * columns)};
  }
  // REQUIRES: dtype i32.
  std::span<const i32> ints() const {
    return {static_cast<const i32*>(data), static_cast<std::size_t>(rows * columns)};
  }
};

struct PageCopy {
  i32 from;
  i32 to;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // The first result, row-major, valid until the next run: logits [R, V] of a decoder, rows [S, d]
  // of an embedding model; empty if it is not f32. An error (bad page, slot or id: a trap) commits
  // nothing.
  virtual Result<std::span<const f32>> run(const StepBatch& batch) = 0;
  // All results of the last run, in order.
  virtual std::size_t results() const { return 1; }
  virtual ResultView result(std::size_t) const { return {}; }
  // Distinct experts hit by the last run, summed over the layers of each of the `experts` of main's
  // cost matrix, in its order: what its evaluation needs. Empty if the program has none.
  virtual std::span<const u64> expert_hits() const { return {}; }
  // Which function the last run ran: its place in the program; 0 is main.
  virtual std::size_t entry() const { return 0; }
  // Nanoseconds of each op of that function in the last run; empty where the device does not say.
  // Asking turns it on, from the next run: the first answer is zeros.
  virtual std::span<const u64> op_times() { return {}; }
  // Copies whole pages of every layer (fork, copy-on-write, swap), one after the other. Page
  // kv_pages + i is the i-th of the host's swap_pages.
  virtual Status copy_pages(std::span<const PageCopy> copies) = 0;
  // Columns of the first result.
  virtual i64 vocabulary() const = 0;
  virtual i64 page_tokens() const = 0;
  virtual i64 page_bytes() const = 0;
  virtual const ExecutorLimits& limits() const = 0;
  // "cpu avx512", for people and receipts.
  virtual std::string device_name() const = 0;
};

// Loads backend `name` (as load_library names it; ":N" behind it is the device, else 0), plans
// `program`'s functions on the device, packs the weights and binds everything. `program`
// and `weights` must outlive the executor. With a file for packed weights it is read if it is
// theirs, else written; whether that works is nobody's failure.
Result<std::unique_ptr<Executor>> make_executor(const std::string& name,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits,
                                                const PackedFile& packed = {});

}  // namespace tg::backend
