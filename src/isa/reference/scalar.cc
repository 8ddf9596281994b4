#include "isa/reference/scalar.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "isa/limits.h"

namespace tg::isa {

template <typename F>
static F unary(EwOp op, F x) {
  switch (op) {
    case EwOp::kNeg: return -x;
    case EwOp::kAbs: return std::fabs(x);
    case EwOp::kExp: return std::exp(x);
    case EwOp::kExpm1: return std::expm1(x);
    case EwOp::kLog: return std::log(x);
    case EwOp::kSqrt: return std::sqrt(x);
    case EwOp::kTanh: return std::tanh(x);
    case EwOp::kErf: return std::erf(x);
    case EwOp::kSigmoid: return sigmoid(x);
    default: break;
  }
  TG_ASSERT(false && "not a unary operation");
  return x;
}

template <typename F>
static F binary(EwOp op, F a, F b) {
  switch (op) {
    case EwOp::kAdd: return a + b;
    case EwOp::kSub: return a - b;
    case EwOp::kMul: return a * b;
    case EwOp::kDiv: return a / b;
    case EwOp::kMin: return std::min(a, b);
    case EwOp::kMax: return std::max(a, b);
    default: break;
  }
  TG_ASSERT(false && "not a binary operation");
  return a;
}

template <typename F>
F run_ew(std::span<const u32> words, std::span<const F> inputs) {
  std::array<F, kEwStackMax> stack{};
  std::size_t depth = 0;
  for (std::size_t at = 0; at < words.size();) {
    Result<EwStep> step = read_ew(words, at);
    TG_ASSERT(step.ok());
    const EwInfo& op = info(step->op);
    if (step->op == EwOp::kInput) {
      stack[depth++] = inputs[step->input];
    } else if (step->op == EwOp::kConstant) {
      stack[depth++] = F(step->constant);
    } else if (step->op == EwOp::kDup) {
      stack[depth] = stack[depth - 1];
      ++depth;
    } else if (step->op == EwOp::kSwap) {
      std::swap(stack[depth - 1], stack[depth - 2]);
    } else if (op.pops == 1) {
      stack[depth - 1] = unary(step->op, stack[depth - 1]);
    } else {
      --depth;
      stack[depth - 1] = binary(step->op, stack[depth - 1], stack[depth]);
    }
  }
  TG_ASSERT(depth == 1);
  return stack[0];
}

template f32 run_ew<f32>(std::span<const u32>, std::span<const f32>);
template f64 run_ew<f64>(std::span<const u32>, std::span<const f64>);

}  // namespace tg::isa
