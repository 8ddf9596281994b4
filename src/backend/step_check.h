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

// What a step must be for the program's functions.
struct StepRules {
  std::vector<IndexBound> bounds;  // what embed and gather demand
  i64 position_rows = 1;           // rows of positions
  bool takes_samples = false;
  i64 vocabulary = 0;        // ids in sampling parameters are below it
  bool is_uncached = false;  // attn_dense over new tokens: no sequence may have cached keys
  // spec_verify: every row but a sequence's first has its parent among the rows before it; with
  // rejection sampling it is the one before.
  bool has_proposals = false;
  bool has_chains = false;
};

// kUnsupported if a function takes its indices from another op's result, which the host cannot
// check, or if its parameters are not ids, positions, rows, batch and perhaps sampling parameters.
Result<StepRules> step_rules(const isa::VerifiedProgram& program);

class StepChecker {
 public:
  // page_tokens 0: the program has no cache.
  StepChecker(const ExecutorLimits& limits, i64 page_tokens, StepRules rules);

  // kInvalid naming the field, its index and its value. Allocates only to report.
  Status check(const StepBatch& batch);
  const StepRules& rules() const { return rules_; }

 private:
  Status check_sizes(const StepBatch& batch) const;
  Status check_sequences(const StepBatch& batch) const;
  Status check_pages(const StepBatch& batch) const;
  Status check_slots(const StepBatch& batch);
  Status check_indices(const StepBatch& batch) const;
  Status check_tree(const StepBatch& batch) const;
  Status check_samples(const StepBatch& batch) const;
  Status check_proposals(const StepBatch& batch);
  Status check_ids(const char* field, std::size_t row, std::span<const i32> ids) const;

  ExecutorLimits limits_;
  i64 page_tokens_;
  StepRules rules_;
  std::vector<bool> slot_taken_;  // all false between calls
  std::vector<i32> last_row_;     // of each token's sequence; scratch
};

}  // namespace tg::backend
