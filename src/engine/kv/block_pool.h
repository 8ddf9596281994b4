// The KV pool's book-keeping: which of the executor's pages (here: blocks) are free, referenced by
// sequences, or kept only because a later prompt may start with the same tokens.
//
//   free ──allocate──▶ used ──release──▶ free        (never published)
//                       │  ▲
//               publish │  │ acquire (a prefix hit)
//                       ▼  │
//                      used ──release──▶ cached ──evict, oldest first──▶ free
//
// A sequence that references a published block references all its parents, and releases its table
// from the end. So the parents of a cached block were released no earlier than the block, the
// oldest cached block is always a leaf, and every cached block can be had back: available() is
// exact.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"
#include "engine/kv/prefix_index.h"
#include "engine/kv/swap_space.h"

namespace tg::engine {

struct PoolOptions {
  i64 blocks = 0;
  i64 block_tokens = 0;
  bool prefix_cache = true;
  u64 prefix_seed = 0;
  i64 swap_blocks = 0;  // of the host's memory
};

class BlockPool {
 public:
  // REQUIRES: positive blocks and block_tokens.
  explicit BlockPool(const PoolOptions& options);

  i64 total() const { return static_cast<i64>(blocks_.size()); }
  i64 used() const { return used_; }
  i64 cached() const { return cached_; }
  // Blocks that allocate() can give: free ones and cached ones.
  i64 available() const { return static_cast<i64>(free_.size()) + cached_; }
  // Sum of the reference counts: the length of all block tables together.
  i64 references() const { return references_; }
  i64 block_tokens() const { return block_tokens_; }
  // Blocks that hold `tokens` tokens.
  i64 blocks_for(i64 tokens) const { return (tokens + block_tokens_ - 1) / block_tokens_; }

  // A block with one reference and unspecified content; evicts the oldest cached one if none is
  // free. REQUIRES: available() > 0.
  i32 allocate();
  // One more reference to a used or cached block.
  void acquire(i32 block);
  // One reference less; without any, a published block becomes cached and another one free.
  void release(i32 block);
  // Releases a whole block table from its end and empties it.
  void release_all(std::vector<i32>& table);

  // The longest chain of published blocks that holds the start of `tokens`, written to `chain`;
  // references nothing. Empty if the cache is off.
  void match(std::span<const i32> tokens, u64 salt, std::vector<i32>& chain) const;
  // The published block after `parent` (kNoBlock: at the start) that begins with most of `tokens`.
  // REQUIRES: the cache is on, tokens are no more than fill a block.
  PartOfBlock match_part(i32 parent, u64 salt, std::span<const i32> tokens) const {
    return index_.find_part(parent, salt, tokens);
  }
  // How many of the blocks of a table no other table holds: releasing it raises available() by as
  // much.
  i64 count_unshared(std::span<const i32> table) const;
  // Offers table[index], just computed and full of `tokens`, to later prompts. If an equal block is
  // published already, the table takes that one and gives its own back. REQUIRES: cache on, all
  // earlier blocks of the table published, this one not.
  void publish(std::vector<i32>& table, i64 index, u64 salt, std::span<const i32> tokens);
  bool caches() const { return prefix_cache_; }
  SwapSpace& swap() { return swap_; }
  const SwapSpace& swap() const { return swap_; }

  // Asserts free + used + cached = total, and the same of the host's; cheap enough for every step.
  void check() const;
  // Recounts everything from the blocks themselves. For tests.
  void audit() const;

 private:
  struct Block {
    i32 references = 0;
    // Neighbours in the list of cached blocks, oldest first.
    i32 older = kNoBlock;
    i32 newer = kNoBlock;
  };

  void enlist(i32 block);
  void delist(i32 block);
  void evict_oldest();

  i64 block_tokens_;
  bool prefix_cache_;
  PrefixIndex index_;
  SwapSpace swap_;
  std::vector<Block> blocks_;
  std::vector<i32> free_;
  i32 oldest_ = kNoBlock;
  i32 newest_ = kNoBlock;
  i64 used_ = 0;
  i64 cached_ = 0;
  i64 references_ = 0;
};

}  // namespace tg::engine
