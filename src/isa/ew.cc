#include "isa/ew.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/assert.h"
#include "isa/limits.h"

namespace tg::isa {

static constexpr EwInfo kEwOps[] = {
#define TG_EW_INFO(id, name, pops, pushes) {name, pops, pushes},
    TG_EW_OPS(TG_EW_INFO)
#undef TG_EW_INFO
};

const EwInfo& info(EwOp op) {
  TG_ASSERT(op < EwOp::kCount);
  return kEwOps[static_cast<std::size_t>(op)];
}

std::optional<EwOp> ew_op_by_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kEwOps); ++i) {
    if (kEwOps[i].name == name) return static_cast<EwOp>(i);
  }
  return std::nullopt;
}

bool is_arithmetic(EwOp op) {
  return op > EwOp::kSwap;
}

static Error ew_error(std::string message) {
  return Error{Code::kInvalid, "ew: " + std::move(message)};
}

Result<EwStep> read_ew(std::span<const u32> words, std::size_t& at) {
  TG_ASSERT(at < words.size());
  u32 word = words[at++];
  EwStep step;
  if ((word & 0xFF) >= static_cast<u32>(EwOp::kCount))
    return ew_error("unknown operation " + std::to_string(word & 0xFF));
  step.op = static_cast<EwOp>(word & 0xFF);
  u32 rest = word >> 8;
  if (step.op == EwOp::kInput && rest < static_cast<u32>(kOperandsMax)) {
    step.input = static_cast<u8>(rest);
    rest = 0;
  }
  if (rest != 0) return ew_error("word " + std::to_string(word) + " has padding bits set");
  if (step.op != EwOp::kConstant) return step;
  if (at == words.size()) return ew_error("a constant is missing at the end");
  step.constant = std::bit_cast<f32>(words[at++]);
  if (!std::isfinite(step.constant)) return ew_error("a constant is not finite");
  return step;
}

Result<EwSummary> check_ew(std::span<const u32> words) {
  if (static_cast<i64>(words.size()) > kEwCodeMax)
    return ew_error(std::to_string(words.size()) + " words, at most " + std::to_string(kEwCodeMax));
  EwSummary summary;
  i64 depth = 0;
  for (std::size_t at = 0; at < words.size();) {
    TG_ASSIGN(EwStep step, read_ew(words, at));
    const EwInfo& op = info(step.op);
    if (depth < op.pops) return ew_error(std::string(op.name) + " finds too few values");
    depth += op.pushes - op.pops;
    if (depth > kEwStackMax) return ew_error("stack deeper than " + std::to_string(kEwStackMax));
    if (step.op == EwOp::kInput) summary.inputs = std::max(summary.inputs, step.input + 1u);
    if (is_arithmetic(step.op)) ++summary.arithmetic;
  }
  if (depth != 1) return ew_error(std::to_string(depth) + " values left at the end, not 1");
  return summary;
}

}  // namespace tg::isa
