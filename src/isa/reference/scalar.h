// Scalar functions of the ops, for one element, in f32 or f64.
#pragma once

#include <cmath>
#include <span>

#include "isa/ew.h"
#include "isa/opcode.h"

namespace tg::isa {

template <typename F>
F sigmoid(F x) {
  return F(1) / (F(1) + std::exp(-x));
}

// `cap` is the parameter of softcap.
template <typename F>
F activate(Activation act, F x, F cap) {
  switch (act) {
    case Activation::kSilu: return x * sigmoid(x);
    case Activation::kGeluTanh:
      return F(0.5) * x * (F(1) + std::tanh(F(0.7978845608028654) * (x + F(0.044715) * x * x * x)));
    case Activation::kGeluErf: return F(0.5) * x * (F(1) + std::erf(x * F(0.7071067811865476)));
    case Activation::kRelu: return x > F(0) ? x : F(0);
    case Activation::kRelu2: return x > F(0) ? x * x : F(0);
    case Activation::kSigmoid: return sigmoid(x);
    case Activation::kTanh: return std::tanh(x);
    case Activation::kSoftplus: return x > F(20) ? x : std::log1p(std::exp(x));
    case Activation::kSoftcap: return cap * std::tanh(x / cap);
    case Activation::kSwigluOai: break;  // Only glu has it.
  }
  return x;
}

// alpha and limit are those of swiglu_oai.
template <typename F>
struct GluShape {
  Activation act;
  F alpha;
  F limit;
};

template <typename F>
F gated(const GluShape<F>& shape, F gate, F up) {
  if (shape.act != Activation::kSwigluOai) return activate(shape.act, gate, F(0)) * up;
  F g = gate < shape.limit ? gate : shape.limit;
  F u = up < -shape.limit ? -shape.limit : up > shape.limit ? shape.limit : up;
  return g * sigmoid(shape.alpha * g) * (u + F(1));
}

// Runs an `ew` program on one element of each operand. REQUIRES: check_ew(words) passed.
template <typename F>
F run_ew(std::span<const u32> words, std::span<const F> inputs);

extern template f32 run_ew<f32>(std::span<const u32>, std::span<const f32>);
extern template f64 run_ew<f64>(std::span<const u32>, std::span<const f64>);

}  // namespace tg::isa
