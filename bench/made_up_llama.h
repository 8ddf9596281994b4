// A decoder of 1.1 billion parameters (22 layers of 2,048 channels, 32 heads on 4) with made-up
// weights, for benches of whole steps.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "backend/tiny_llama.h"
#include "isa/codec.h"

namespace tg {

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

// All matrices in one codec; products declare `xq` unless it is "none".
inline isa::VerifiedProgram made_up_llama(const std::string& codec, const std::string& xq,
                                          i64 layers) {
  backend::TinyShape shape{.d = 2'048,
                           .heads = 32,
                           .groups = 4,
                           .head_dim = 64,
                           .f = 5'632,
                           .vocabulary = 32'000,
                           .layers = layers,
                           .codec = codec,
                           .head_codec = codec,
                           .xq = xq == "none" ? "" : xq};
  std::string text = replaced(backend::tiny_llama_text(shape), "C<=1024", "C<=4096");
  return backend::verified(text);
}

// One matrix's bytes for all of a symbol's layers; numbers are small and finite in every codec.
struct MadeUpWeights {
  std::vector<std::vector<u8>> storage;
  isa::WeightTable table;

  explicit MadeUpWeights(const isa::Program& program) {
    for (const isa::WeightDecl& weight : program.weights) {
      i64 rows = 1;
      for (std::size_t i = 0; i + 1 < weight.dims.size(); ++i) rows *= weight.dims[i];
      i64 bytes = rows * isa::row_bytes(weight.codec, weight.dims.back());
      std::vector<u8>& one = storage.emplace_back(static_cast<std::size_t>(bytes));
      for (std::size_t i = 0; i < one.size(); ++i) one[i] = i % 2 == 0 ? 0x11 : 0x14;
      table.by_symbol.emplace_back(std::max<u32>(weight.layers, 1), std::span<const u8>(one));
    }
  }
};

}  // namespace tg
