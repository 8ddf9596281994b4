// The model families that can be imported, as data: what differs between them is a column, what
// they share is one of two templates (decoder.h, encoder.h). A family that only differs in these
// columns is one more row.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "isa/opcode.h"

namespace tg::model {

enum class Stack : u8 { kDecoder, kEncoder };

// kGrouped: queries share heads of keys and values (Ainslie et al. 2023). kLatent: keys and values
// are made from one cached row for all heads (DeepSeek-V2, 2024).
enum class AttentionKind : u8 { kGrouped, kLatent };

// Whether layers route tokens to experts.
enum class ExpertUse : u8 { kNever, kIfCounted, kAlways };

// Biases that a file must hold; others are used where they are present.
enum class Biases : u8 { kNone, kQkv, kAll };

struct DecoderTraits {
  std::string_view name;  // general.architecture, and the prefix of its keys
  isa::RopeStyle rope{};  // how the file's q and k rows are paired
  Stack stack = Stack::kDecoder;
  AttentionKind attention = AttentionKind::kGrouped;
  Biases required_biases = Biases::kNone;
  bool has_qk_norm = false;       // needs attn_q_norm and attn_k_norm in every layer
  bool has_post_norms = false;    // the outputs of attention and feed-forward are normalised too
  bool has_sinks = false;         // each head has a score for "no key"
  bool has_soft_caps = false;     // scores and logits are capped by tanh
  bool is_qkv_fused = false;      // one matrix attn_qkv
  bool is_gate_up_fused = false;  // one matrix ffn_up: gate rows, then up rows
  bool scales_embedding = false;  // by the square root of the width
  bool truncates_yarn = true;     // YaRN's ramp begins and ends at whole pairs
  std::string_view second_norm = "ffn_norm.weight";  // before the feed-forward block
  isa::Activation gate = isa::Activation::kSilu;
  // Of so many layers the last sees all keys, the others a window; 1: all have the window.
  i64 window_period = 1;
  f64 local_rope_base = 0;  // > 0: windowed layers turn by this base, without scaling
  // Models of this many layers scale scores by width / heads, which no key of their files says.
  i64 width_scaled_layers = 0;
  ExpertUse experts = ExpertUse::kNever;
  isa::RouteScore route_score = isa::RouteScore::kSoftmax;  // unless the file says
  bool renormalizes_experts = false;                        // unless the file says
};

std::span<const DecoderTraits> architectures();

// kUnsupported, naming the architecture and those that are known.
Result<DecoderTraits> find_architecture(std::string_view name);

}  // namespace tg::model
