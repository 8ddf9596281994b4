// Runs put side by side: policies by loads by seeds, as a table, as JSON and as a plot.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dispatch/choose.h"
#include "sim/result.h"

namespace tg::sim {

struct Cell {
  dispatch::Policy policy = dispatch::Policy::kPredicted;
  f64 load = 1;
  std::vector<Summary> runs;  // by seed
};

// Mean over seeds, and half of the 95 % interval of it (Student's).
struct Estimate {
  f64 mean = 0;
  f64 half = 0;
};
Estimate estimate(std::span<const f64> values);

std::string to_json(const Summary& summary);
std::string to_json(std::span<const SupplierResult> suppliers);
std::string to_json(std::span<const Cell> cells);
std::string to_table(std::span<const Cell> cells);
// A line for each cell with money, over all its seeds; "" if there is none. It has balanced.
std::string money_text(std::span<const Cell> cells);
// One line per request under kRequestsHead: where it waited, what was forecast and what came.
inline constexpr std::string_view kRequestsHead =
    "policy,load,seed,arrived_s,sent_s,forecast_s,first_s,done_s,supplier,open,attempts,"
    "prompt_tokens,output_tokens\n";
std::string to_csv(const Cell& cell, u64 seed, std::span<const RequestResult> requests);
// p99 of the time to the first token over load, logarithmic, one line per policy.
std::string to_svg(std::span<const Cell> cells, const std::string& title);

}  // namespace tg::sim
