// The CPU's plan of a function: one segment per op, and a place for every value. Values that live
// at different times share memory; sizes are those of the plan's limits.
#pragma once

#include <optional>
#include <vector>

#include "backend/abi.h"
#include "base/result.h"
#include "isa/program.h"

namespace tg::backend::cpu {

inline constexpr i64 kAlignment = 64;
constexpr i64 aligned(i64 bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct PlanLimits {
  i64 tokens = 0;
  i64 sequences = 0;
  i64 rows = 0;
  i64 context = 0;
  i32 threads = 1;
};

// kNone: opaque values (the batch, sampling parameters), which have no place of their own.
enum class Home : u8 { kNone, kActivations, kOutput, kIds, kPositions, kRows };

struct Place {
  Home home = Home::kNone;
  i64 offset = 0;  // in the activations or output buffer
};

// cos and sin of one (positions, frequencies, mscale), computed by the step's first rope that needs
// them and read by all others.
struct RopeTable {
  isa::FlatOperand positions;
  isa::FlatOperand frequencies;
  u32 row = 0;  // of the frequencies' table
  f32 mscale = 1.0f;
  std::vector<u32> sections;  // empty: one position for all frequencies
  i64 half = 0;               // frequencies
  i64 offset = 0;             // in the activations buffer; cos, then sin, [tokens, half] each
};

// What a route leaves for its grouped_linears, as i32: for tokens x k rows each expert, then the
// rows in order of expert; where each expert's rows begin in that order; and as much again to sort.
struct PermLayout {
  i64 rows = 0, experts = 0;
  i64 order() const { return rows; }
  i64 begin() const { return 2 * rows; }
  i64 cursor() const { return 2 * rows + experts + 1; }
  i64 words() const { return 2 * rows + 2 * experts + 2; }
};

struct PlannedOp {
  bool is_alias = false;  // the result lies where the operand lies: nothing to do
  i32 route = -1;         // which of the function's routes
  i32 rope_table = -1;
  bool fills_table = false;
};

struct Plan {
  explicit Plan(isa::VerifiedProgram verified) : program(std::move(verified)) {}

  isa::VerifiedProgram program;
  isa::FlatProgram flat;
  PlanLimits limits;
  std::vector<Place> places;  // by value
  std::vector<PlannedOp> ops;
  std::vector<RopeTable> tables;
  std::vector<std::vector<f32>> constants;
  std::vector<std::vector<u16>> uses;  // of weights by all functions, by symbol and layer
  i64 activation_bytes = 0;
  i64 output_bytes = 0;
  i64 routes_offset = 0;  // in the output
  i64 routes = 0;
  i64 workspace_bytes = 0;
  std::vector<u32> op_indices;
  std::vector<tg_segment> segments;
};

// REQUIRES: limits.threads >= 1.
Result<Plan> make_plan(std::span<const u8> program, const char* function, const PlanLimits& limits);

i64 evaluate(const isa::Dim& dim, i64 tokens, i64 sequences, i64 rows);

// REQUIRES: a perm. Sizes for so many tokens.
PermLayout perm_layout(const isa::Type& perm, i64 tokens);

}  // namespace tg::backend::cpu
