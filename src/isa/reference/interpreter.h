// The reference interpreter: what a program means, in plain loops. Normative together with the
// prose; every backend is compared with it. Not fast, not parallel.
#pragma once

#include <vector>

#include "isa/program.h"
#include "isa/reference/kv_cache.h"
#include "isa/reference/sampling.h"
#include "isa/reference/state_store.h"
#include "isa/reference/tensor.h"
#include "isa/weights.h"

namespace tg::isa {

// kGolden: f64 arithmetic, results kept in f64 and rounded only where rounding is the meaning
// (cache writes, states at the end of a step, cast, xq). kSameType: f32 arithmetic in the naive
// order, every result rounded to nearest even to its declared type.
enum class Precision : u8 { kGolden, kSameType };

// One packed step; all borrowed. Host integers of isa.md §3. T, S and R may be 0.
struct ReferenceBatch {
  std::span<const i32> ids;           // [T]
  std::span<const i32> positions;     // as main's second parameter: [T], or [n,T] row-major
  std::span<const i32> cu;            // [S+1] cumulative new tokens
  std::span<const i32> past;          // [S] tokens cached before the step
  std::span<const i32> page_begin;    // [S+1] CSR into pages; [0] for a program without a cache
  std::span<const i32> pages;         // page ids of each sequence, in order
  std::span<const i32> slots;         // [T] page*page_tokens+offset, -1: do not write; as above
  std::span<const i32> rows;          // [R] token indices whose logits are wanted
  std::span<const SampleRow> params;  // [R], for programs with a params operand; logits ignored
  // [T] parent's index among the sequence's new tokens, an earlier one; -1: the token before it.
  // Empty: chains.
  std::span<const i32> tree = {};
  std::span<const i32> states = {};  // [S] state slot of each sequence, distinct; empty: 0, 1, ...
  std::span<const Tensor> extra = {};  // main's further tensors, in order
};

struct InterpreterOptions {
  i64 state_slots = 0;  // 0: one for each sequence of the program's bounds
  // Run the second entry instead of main in every step in which no sequence has cached keys. Both
  // give the same results over the same cache. REQUIRES: the program has one.
  bool fresh_entry = false;
};

struct StepContext;

class Interpreter {
 public:
  // `program` and what `weights` borrows must outlive the interpreter. kInvalid if `weights` does
  // not have the bytes that the program declares, or the entry asked for does not exist.
  static Result<Interpreter> make(const VerifiedProgram& program, const WeightTable& weights,
                                  Precision precision, i64 pages,
                                  const InterpreterOptions& options = {});

  // Results of the entry in order. An error is a trap (page, slot, id or row out of range, slot
  // written twice, context exceeded, ...): nothing was committed to caches or states. A collective
  // traps: see ReferenceGroup.
  Result<std::vector<Tensor>> run(const ReferenceBatch& batch);

  // Counters of all instructions executed so far, from the sizes at hand, independent of the cost
  // matrix. Traps count nothing.
  const unit::Counters& counters() const { return counters_; }
  // Which function the last step ran: its place in the program; 0 is main.
  std::size_t entry() const { return entry_; }
  // Distinct experts hit in the last step: for each `route` in order of execution, and summed over
  // the layers of each of the `experts` of that entry's cost matrix, in its order.
  const std::vector<u64>& route_hits() const { return route_hits_; }
  std::vector<u64> expert_hits() const;

  // REQUIRES: pages, or state slots, in range.
  void copy_page(i64 from, i64 to);
  void copy_state(i64 from, i64 to);
  // By kv symbol; the one that is not what was asked for is empty. REQUIRES: i < number of symbols.
  const ReferenceKv& kv(std::size_t i) const { return kv_[i]; }
  const ReferenceState& state(std::size_t i) const { return states_[i]; }

 private:
  friend class ReferenceGroup;

  // A function unrolled, and when its values are no longer needed.
  struct Entry {
    FlatProgram flat;
    std::vector<std::vector<u32>> dies_after;  // values by the instruction that reads them last
    std::vector<std::size_t> route_class;      // of each route, into the cost matrix's experts
  };

  Interpreter() = default;
  std::size_t entry_for(const ReferenceBatch& batch) const;
  Status begin(const ReferenceBatch& batch, std::size_t entry);
  StepContext context(const ReferenceBatch& batch);
  // Commits, or takes back everything since begin().
  void end(bool good);
  template <typename F>
  Result<std::vector<Tensor>> run_step(const ReferenceBatch& batch);

  const VerifiedProgram* program_ = nullptr;
  WeightTable weights_;
  Precision precision_ = Precision::kGolden;
  bool fresh_entry_ = false;
  std::vector<Entry> entries_;
  std::vector<ReferenceKv> kv_;
  std::vector<ReferenceState> states_;
  unit::Counters counters_{};
  unit::Counters counters_before_{};
  std::size_t entry_ = 0;
  std::vector<u64> route_hits_;
};

}  // namespace tg::isa
