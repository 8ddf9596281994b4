// The scalar language of `ew`: a postfix program over one element of each operand, the escape hatch
// for elementwise shapes that deserve no op of their own. A word is an operation (low 8 bits) and,
// for kInput, an operand number (next 8 bits); kConstant takes the following word as f32 bits.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::isa {

// id, name, operands popped, results pushed. Appended only: the values are the encoding.
#define TG_EW_OPS(X)          \
  X(kInput, "x", 0, 1)        \
  X(kConstant, "const", 0, 1) \
  X(kDup, "dup", 1, 2)        \
  X(kSwap, "swap", 2, 2)      \
  X(kAdd, "add", 2, 1)        \
  X(kSub, "sub", 2, 1)        \
  X(kMul, "mul", 2, 1)        \
  X(kDiv, "div", 2, 1)        \
  X(kMin, "min", 2, 1)        \
  X(kMax, "max", 2, 1)        \
  X(kNeg, "neg", 1, 1)        \
  X(kAbs, "abs", 1, 1)        \
  X(kExp, "exp", 1, 1)        \
  X(kExpm1, "expm1", 1, 1)    \
  X(kLog, "log", 1, 1)        \
  X(kSqrt, "sqrt", 1, 1)      \
  X(kTanh, "tanh", 1, 1)      \
  X(kErf, "erf", 1, 1)        \
  X(kSigmoid, "sigmoid", 1, 1)

enum class EwOp : u8 {
#define TG_EW_ENUM(id, name, pops, pushes) id,
  TG_EW_OPS(TG_EW_ENUM)
#undef TG_EW_ENUM
      kCount
};

struct EwInfo {
  std::string_view name;
  u8 pops;
  u8 pushes;
};

// One decoded operation.
struct EwStep {
  EwOp op{};
  u8 input = 0;         // kInput
  f32 constant = 0.0f;  // kConstant
};

const EwInfo& info(EwOp op);
std::optional<EwOp> ew_op_by_name(std::string_view name);
// 1 for each arithmetic operation; loads and stack moves are free.
bool is_arithmetic(EwOp op);

// Reads the step at `at` and advances it; kInvalid for unknown operations, padding bits or a
// missing constant. REQUIRES: at < words.size().
Result<EwStep> read_ew(std::span<const u32> words, std::size_t& at);

struct EwSummary {
  u32 inputs = 0;      // one past the highest operand read
  u32 arithmetic = 0;  // FLOP per element
};

// Checks the stack discipline: never empty when popped, at most kEwStackMax deep, one value left.
Result<EwSummary> check_ew(std::span<const u32> words);

}  // namespace tg::isa
