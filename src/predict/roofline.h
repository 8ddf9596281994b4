// Nominal seconds of a serving situation by family of operations: what the model's integers and the
// device's data sheet say before anything is learned. A predictor is a few non-negative weights
// over these terms, so each family's real utilisation is one number.
#pragma once

#include <array>
#include <string_view>

#include "base/types.h"
#include "predict/device_spec.h"
#include "predict/model_shape.h"
#include "predict/setting.h"

namespace tg::predict {

// Terms of one decoded token. Those from kPromptGemm on are prompts of other requests that are
// computed in between, per decoded token.
enum TpotTerm : u8 {
  kDense,           // weights or FLOP of linears that all tokens pass
  kExperts,         // of experts hit
  kAttention,       // keys and values read, or pairs computed
  kLinkLatency,     // two exchanges a layer, each one latency
  kLinkHops,        // ... times log2 of devices
  kLinkBytes,       // ... their bytes
  kExpertExchange,  // bytes to the devices that hold the experts
  kLayers,          // launches per layer
  kExpertLayers,    // ... per expert layer
  kStep,            // per step
  kSequences,       // per sequence in the step
  kLatentLayers,    // per layer whose keys are latent: products that others do not have
  kPromptGemm,
  kPromptAttention,
  kPromptMemory,
  kPromptLink,
  kPromptLayers,
  kTpotTerms,
};

// Terms of the time to the first token.
enum TtftTerm : u8 {
  kOwnGemm,
  kOwnAttention,
  kOwnMemory,
  kOwnLink,
  kOwnLayers,
  kOwnWeights,  // weights read once
  kQueuedWork,  // the prompts of all other requests in flight, on one instance
  kQueuedRoot,  // the square root of their number of such prompts
  kDecodeStep,  // one step of those already decoding
  kConstant,
  kArrivals,     // per request in flight
  kMemoryQueue,  // waiting for room for keys: the part of the requests that does not fit
  kTtftTerms,
};

std::string_view term_name(TpotTerm term);
std::string_view term_name(TtftTerm term);

struct Basis {
  std::array<f64, kTpotTerms> tpot{};  // seconds, at 75 % of bandwidth and 55 % of peak
  std::array<f64, kTtftTerms> ttft{};
  f64 batch = 1;         // sequences per attention replica that fit at once
  f64 decode_total = 0;  // seconds, sum of a step's terms without prompts
  f64 prompt_total = 0;  // seconds, one prompt
  f64 interference = 0;  // prompts computed per decoded token
  f64 overflow = 0;      // requests beyond memory, as a multiple of those that fit
  bool is_pool = false;  // prefill and decode do not share devices
  bool is_draft_likely = false;
  std::array<f64, 6> shares{};  // of decode_total: weights, experts, keys, compute, links, prompts
};

// REQUIRES: concurrency, prompt and output at least 1; layouts of at least one device.
Basis make_basis(const Setting& setting, const ModelShape& model, const DeviceSpec& device);

// Bytes per parameter and the arithmetic they are multiplied in.
struct WeightFormat {
  f64 dense_bytes = 2;
  f64 expert_bytes = 2;
  f64 kv_bytes = 2;
  Math dense_math = Math::kBf16;
  Math expert_math = Math::kBf16;
};
WeightFormat weight_format(const Setting& setting, const ModelShape& model);

// Distinct of `experts` hit by `tokens` that choose `active` each, evenly spread.
f64 experts_hit(f64 experts, f64 active, f64 tokens);

}  // namespace tg::predict
