// Finds a draft's layers: where the instructions of one end and of the next begin, and which
// neighbours are alike, so that a stack of equal layers is written as one loop.
#pragma once

#include <string>
#include <vector>

#include "model/onnx/draft.h"
#include "model/onnx/weights.h"

namespace tg::onnx {

// The steps first..last-1 of a draft.
struct Block {
  std::size_t first = 0;
  std::size_t last = 0;
  std::vector<i32> live_in;   // values made before it and read in it or after it, ascending
  std::vector<i32> live_out;  // likewise at its end
  std::vector<i32> weights;   // that no other block reads, by first use
  std::vector<i64> windows;   // of its attentions, in order
  i64 cache = -1;             // the first layer of the cache that it touches
  std::string shape;          // equal for blocks that differ in weights, layers and windows alone
};

// Neighbouring blocks that are alike.
struct Run {
  std::size_t first = 0;  // block
  std::size_t count = 0;
};

struct Layers {
  std::vector<Block> blocks;     // in order and adjacent, one for each attention
  std::vector<Run> runs;         // of the blocks, in order
  std::vector<bool> is_private;  // by weight: exactly one block reads it, and nothing else
};

// `tail`: the step at which the layers end (tidy.h). REQUIRES: the draft has an attention.
Layers find_layers(const Draft& draft, const std::vector<Weight>& weights, std::size_t tail);

// The shortest table whose entries, taken in turn, are `windows`. REQUIRES: not empty.
std::vector<i64> window_cycle(const std::vector<i64>& windows);

}  // namespace tg::onnx
