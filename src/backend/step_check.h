// The traps of a step (isa.md 9.1): every index of a StepBatch is checked on the host before any of
// it reaches a device, so that a bad one changes nothing.
#pragma once

#include <vector>

#include "backend/executor.h"
#include "base/result.h"
#include "isa/program.h"

namespace tg::backend {

enum class IndexParameter : u8 { kIds, kPositions, kRows };

// Values of a parameter that some op uses as row numbers must be below `bound`.
struct IndexBound {
  IndexParameter parameter{};
  isa::Dim bound;
};

// What embed and gather ops of `flat` demand. kUnsupported if one takes its indices from another
// op's result, which the host cannot check, or if the parameters are not ids, positions, rows.
Result<std::vector<IndexBound>> index_bounds(const isa::Program& program,
                                             const isa::FlatProgram& flat);

class StepChecker {
 public:
  // page_tokens 0: the program has no cache.
  StepChecker(const ExecutorLimits& limits, i64 page_tokens, std::vector<IndexBound> bounds);

  // kInvalid naming the field, its index and its value. Allocates only to report.
  Status check(const StepBatch& batch);

 private:
  Status check_sizes(const StepBatch& batch) const;
  Status check_sequences(const StepBatch& batch) const;
  Status check_pages(const StepBatch& batch) const;
  Status check_slots(const StepBatch& batch);
  Status check_indices(const StepBatch& batch) const;

  ExecutorLimits limits_;
  i64 page_tokens_;
  std::vector<IndexBound> bounds_;
  std::vector<bool> slot_taken_;  // all false between calls
};

}  // namespace tg::backend
