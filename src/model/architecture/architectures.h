// The decoder families that can be imported, as data: what differs between them is a row of a
// table, what they share is the template in llama.h. A family that only differs in these columns is
// one more row.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "isa/opcode.h"

namespace tg::model {

struct DecoderTraits {
  std::string_view name;  // general.architecture, and the prefix of its keys
  isa::RopeStyle rope;    // how the file's q and k rows are paired
  bool has_qk_norm;       // needs attn_q_norm and attn_k_norm in every layer
};

std::span<const DecoderTraits> architectures();

// kUnsupported, naming the architecture and those that are known.
Result<DecoderTraits> find_architecture(std::string_view name);

}  // namespace tg::model
