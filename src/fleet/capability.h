// What a supplier was measured to be able to do: a record of cells of the published suite
// (spec/calibration.md), what follows from them, and a signature. A text, so that it can be read,
// compared and verified without us.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/clock.h"
#include "fleet/supplier.h"
#include "tlog/note.h"

namespace tg::fleet {

inline constexpr std::string_view kSuiteName = "tokengrid-suite/1";
inline constexpr i64 kCellsMax = 1'024;
inline constexpr std::size_t kCapabilityBytesMax = 256 * 1024;

// Prompts of so many tokens, so many at once, so many tokens of output each.
struct Cell {
  i64 prompt = 0;
  i64 batch = 1;
  i64 output = 1;
  friend bool operator==(const Cell&, const Cell&) = default;
};
// In the order in which they are measured: coarse first, so that a run that ends early has seen all
// of the range. Nothing beyond `context_max` tokens a request or `batch_max` at once.
std::vector<Cell> suite_cells(i64 context_max, i64 batch_max);

struct CellResult {
  Cell cell;
  i64 requests = 0;  // that ended well
  i64 failures = 0;
  i64 wall_ns = 0;
  i64 ttft_ns_p50 = 0;
  i64 ttft_ns_p90 = 0;
  i64 tpot_ns_p50 = 0;  // 0 with one token of output
  i64 tpot_ns_p90 = 0;
  i64 output_tokens = 0;
  i64 nominal_nst = 0;  // of the cell's requests
  f64 joules = -1;      // below 0: not measured
  f64 st_per_second() const;
};

// How soon tokens must come to count for a tier of latency.
struct Tier {
  std::string_view name;
  i64 ttft_ns_max = 0;
  i64 tpot_ns_max = 0;
};
inline constexpr std::array<Tier, 3> kTiers = {{{"interactive", 1'000'000'000, 50'000'000},
                                                {"standard", 5'000'000'000, 200'000'000},
                                                {"batch", 3'600'000'000'000, 3'600'000'000'000}}};

// The most nominal work per second among the cells whose p90 meet the tier.
struct TierRate {
  std::string tier;
  f64 st_per_second = 0;  // 0: no cell met it
  Cell cell;
};

struct QualityProbes {
  i64 probes = 0;
  i64 repeatable = 0;       // the same greedy tokens alone and beside others
  i64 compared_tokens = 0;  // with a reference; 0: there was none
  i64 agreed_tokens = 0;    // before the first that differed
};

struct Capability {
  std::string supplier;
  std::string device;
  std::string model;
  Digest program{};
  Timestamp time;
  i64 seconds = 0;  // spent measuring
  u64 seed = 0;
  i64 cells_planned = 0;
  std::vector<CellResult> cells;
  std::vector<TierRate> tiers;
  StepEstimate step;
  f64 joules_per_st = -1;     // below 0: not known
  std::string energy_source;  // the meter's name, "modelled" (of stated watts) or "none"
  QualityProbes quality;
};

// Fills in tiers, step model and energy from the cells. `watts` > 0 models energy where no cell has
// measured any; `meter` did where they have.
void conclude(Capability& capability, f64 watts, const std::string& meter = "rapl");

// Step times from cells by least squares of relative errors, all coefficients at least 0.
StepEstimate fit_step(const std::vector<CellResult>& cells);

// The record's text; with a signature it is a signed note (tlog/note.h).
std::string to_text(const Capability& capability);
std::string sign(const Capability& capability, const tlog::NoteSigner& signer);
// Reads a record, signed or not; verifies nothing. kInvalid names the line.
Result<Capability> parse_capability(std::string_view text);

}  // namespace tg::fleet
