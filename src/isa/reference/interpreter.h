// The reference interpreter: what a program means, in plain loops. Normative together with the
// prose; every backend is compared with it. Not fast, not parallel.
#pragma once

#include <vector>

#include "isa/program.h"
#include "isa/reference/kv_cache.h"
#include "isa/reference/sampling.h"
#include "isa/reference/tensor.h"
#include "isa/weights.h"

namespace tg::isa {

// kGolden: f64 arithmetic, results kept in f64 and rounded only where rounding is the meaning
// (cache writes, cast, xq). kSameType: f32 arithmetic in the naive order, every result rounded to
// nearest even to its declared type.
enum class Precision : u8 { kGolden, kSameType };

// One packed step; all borrowed. Host integers of isa.md §3.
struct ReferenceBatch {
  std::span<const i32> ids;           // [T]
  std::span<const i32> positions;     // [T]
  std::span<const i32> cu;            // [S+1] cumulative new tokens
  std::span<const i32> past;          // [S] tokens cached before the step
  std::span<const i32> page_begin;    // [S+1] CSR into pages
  std::span<const i32> pages;         // page ids of each sequence, in order
  std::span<const i32> slots;         // [T] page*page_tokens+offset, -1: do not write
  std::span<const i32> rows;          // [R] token indices whose logits are wanted
  std::span<const SampleRow> params;  // [R], for programs with a params operand; logits ignored
};

class Interpreter {
 public:
  // Unrolls "main". `program` and what `weights` borrows must outlive the interpreter. kInvalid if
  // `weights` does not have the bytes that the program declares.
  static Result<Interpreter> make(const VerifiedProgram& program, const WeightTable& weights,
                                  Precision precision, i64 pages);

  // Results of main in order. An error is a trap (page, slot, id or row out of range, slot written
  // twice, context exceeded): nothing was committed to the cache.
  Result<std::vector<Tensor>> run(const ReferenceBatch& batch);

  // Counters of all instructions executed so far, from the sizes at hand, independent of the cost
  // matrix. Traps count nothing.
  const unit::Counters& counters() const { return counters_; }

  // REQUIRES: pages in range.
  void copy_page(i64 from, i64 to);
  // REQUIRES: kv < number of caches.
  const ReferenceKv& kv(std::size_t i) const { return kv_[i]; }

 private:
  Interpreter() = default;

  const VerifiedProgram* program_ = nullptr;
  WeightTable weights_;
  Precision precision_ = Precision::kGolden;
  FlatProgram flat_;
  std::vector<std::vector<u32>> dies_after_;  // values by the instruction that reads them last
  std::vector<ReferenceKv> kv_;
  unit::Counters counters_{};
};

}  // namespace tg::isa
