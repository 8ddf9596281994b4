// Measures a supplier over the published suite, from outside: requests in, tokens out, a clock. The
// same for an engine of this process, a node and an endpoint of somebody else's.
#pragma once

#include <functional>

#include "env/random.h"
#include "fleet/capability.h"
#include "fleet/energy_meter.h"
#include "unit/cost_matrix.h"

namespace tg::fleet {

struct CalibrationOptions {
  i64 seconds = 300;    // no cell is begun that would end later, as far as the last ones tell
  i64 context_max = 0;  // > 0
  i64 batch_max = 16;
  i64 vocabulary = 0;  // prompts are made of ids from first_token to there; > first_token
  i64 first_token = 0;
  i64 probes = 8;  // of quality
  u64 seed = 1;
  const unit::CostMatrix* cost = nullptr;  // what nominal work is counted by
  EnergyMeter* meter = nullptr;            // null: none
};

// One cell or probe at a time, so that its caller can show what is known so far and stop whenever
// it likes. All pointers and references must outlive it.
class Calibration {
 public:
  Calibration(Supplier& supplier, const CalibrationOptions& options, Clock& clock);

  // The cells that are planned and not measured yet.
  i64 cells_left() const { return static_cast<i64>(plan_.size() - next_); }
  // Measures the next cell. False when none is left or the time is up. An error if the supplier
  // cannot be measured at all.
  Result<bool> step();
  // Whether greedy replies repeat, alone and beside others, and how far they agree with
  // `reference`, which may be null.
  Result<QualityProbes> probe(Supplier* reference);

  const std::vector<CellResult>& cells() const { return cells_; }
  i64 cells_planned() const { return static_cast<i64>(plan_.size()); }
  i64 seconds_spent() const;

 private:
  struct Reply {
    std::vector<TokenId> tokens;
    i64 sent_ns = 0;
    i64 first_ns = 0;
    i64 last_ns = 0;
    bool is_ended = false;
    bool is_failed = false;
    std::string error;
  };
  SupplyRequest request_of(const Cell& cell);
  Result<std::vector<Reply>> run(Supplier& supplier, std::vector<SupplyRequest> requests);
  Result<CellResult> measure(const Cell& cell);

  Supplier& supplier_;
  const CalibrationOptions options_;
  Clock& clock_;
  SeededRandom random_;
  std::vector<Cell> plan_;
  std::size_t next_ = 0;
  std::vector<CellResult> cells_;
  i64 started_ns_;
  u64 id_next_ = 1;
  std::string last_error_;
};

}  // namespace tg::fleet
