// The prefix cache's index: which block holds which tokens after which parent. Blocks are named by
// a hash chained over their tokens and their parents', as vLLM does; a hit compares tokens, parent
// and salt exactly, so that a collision can cost time but never another request's keys.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::engine {

inline constexpr i32 kNoBlock = -1;

class PrefixIndex {
 public:
  PrefixIndex(i64 blocks, i64 block_tokens, u64 seed);

  // The indexed block that holds `tokens` after `parent` (kNoBlock: at the start of a prompt), or
  // kNoBlock. REQUIRES: parent is kNoBlock or indexed, tokens fill a block.
  i32 find(i32 parent, u64 salt, std::span<const i32> tokens) const;
  // REQUIRES: as find(), which returned kNoBlock; `block` is not indexed.
  void insert(i32 block, i32 parent, u64 salt, std::span<const i32> tokens);
  // REQUIRES: indexed, and without children: a chain is taken down from its end.
  void remove(i32 block);

  bool contains(i32 block) const { return nodes_[block].indexed; }
  // kNoBlock for the first block of a prompt. REQUIRES: indexed.
  i32 parent(i32 block) const { return nodes_[block].parent; }

 private:
  struct Node {
    u64 hash = 0;
    u64 salt = 0;
    i32 parent = kNoBlock;
    i32 bucket_next = kNoBlock;
    i32 children = 0;
    bool indexed = false;
  };

  u64 chained_hash(i32 parent, u64 salt, std::span<const i32> tokens) const;
  i32& bucket(u64 hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  std::span<const i32> tokens_of(i32 block) const;

  i64 block_tokens_;
  u64 seed_;
  std::vector<Node> nodes_;   // by block
  std::vector<i32> tokens_;   // block_tokens per block
  std::vector<i32> buckets_;  // heads of chains through Node::bucket_next; a power of two
};

}  // namespace tg::engine
