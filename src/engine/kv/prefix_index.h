// The prefix cache's index: which block holds which tokens after which parent. Blocks are named by
// a hash chained over their tokens and their parents', as vLLM does; a hit compares tokens, parent
// and salt exactly, so that a collision can cost time but never another request's keys. Blocks with
// one parent are brothers, in a list: one that only begins as wanted is found there.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace tg::engine {

inline constexpr i32 kNoBlock = -1;

// A block and how many of its first tokens are the ones asked for.
struct PartOfBlock {
  i32 block = kNoBlock;
  i64 tokens = 0;
};

class PrefixIndex {
 public:
  PrefixIndex(i64 blocks, i64 block_tokens, u64 seed);

  // The indexed block that holds `tokens` after `parent` (kNoBlock: at the start of a prompt), or
  // kNoBlock. REQUIRES: parent is kNoBlock or indexed, tokens fill a block.
  i32 find(i32 parent, u64 salt, std::span<const i32> tokens) const;
  // Of the latest blocks after `parent`, the one that begins with most of `tokens`, if any begins
  // with one. REQUIRES: parent as for find(), tokens are no more than fill a block.
  PartOfBlock find_part(i32 parent, u64 salt, std::span<const i32> tokens) const;
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
    i32 first_child = kNoBlock;  // the latest
    i32 older = kNoBlock;        // brothers
    i32 newer = kNoBlock;
    bool indexed = false;
  };

  u64 chained_hash(i32 parent, u64 salt, std::span<const i32> tokens) const;
  i32& bucket(u64 hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  std::span<const i32> tokens_of(i32 block) const;
  i32 first_child(i32 parent) const {
    return parent == kNoBlock ? first_root_ : nodes_[parent].first_child;
  }
  i32& first_child(i32 parent) {
    return parent == kNoBlock ? first_root_ : nodes_[parent].first_child;
  }
  void join_brothers(i32 block);
  void leave_brothers(i32 block);

  i64 block_tokens_;
  u64 seed_;
  i32 first_root_ = kNoBlock;  // of the blocks that begin a prompt, the latest
  std::vector<Node> nodes_;    // by block
  std::vector<i32> tokens_;    // block_tokens per block
  std::vector<i32> buckets_;   // heads of chains through Node::bucket_next; a power of two
};

}  // namespace tg::engine
