// Passes over a draft that change what is written but not what is computed: ONNX spells as several
// nodes what the ISA has one instruction for, and computes logits for every token.
#pragma once

#include "model/onnx/draft.h"

namespace tg::onnx {

// In this order: products take the bias that is added to them; x*sigmoid(x) is silu, act(g)*u is
// glu, c*tanh(x/c) is softcap, relu(x)*relu(x) is relu2; what nothing uses is left out; and the
// rows that logits are wanted for are gathered as late before the logits as one value holds all
// that they need. Returns the index of the gather in draft.steps. REQUIRES: a draft from lower().
std::size_t tidy(Draft& draft);

}  // namespace tg::onnx
