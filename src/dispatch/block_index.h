// Which suppliers have which prompt blocks cached, as far as can be told from what was sent there:
// chained block hashes to sets of suppliers, and per supplier the blocks in order of use, so that
// what it must have evicted is forgotten here too. Single-threaded.
#pragma once

#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "dispatch/choose.h"
#include "text/vocab.h"

namespace tg::dispatch {

// Chained hashes of a prompt's whole blocks, of the first `blocks_max` of them, each standing for
// everything up to its end. Prompts of different salts share none.
std::vector<u64> block_hashes(std::span<const TokenId> prompt, u64 salt, i64 block_tokens,
                              i64 blocks_max);

class BlockIndex {
 public:
  static constexpr i64 kBlocksMaxDefault = 1 << 16;

  // REQUIRES: block_tokens > 0.
  explicit BlockIndex(i64 block_tokens) : block_tokens_(block_tokens) {}

  i64 block_tokens() const { return block_tokens_; }
  // Suppliers are known up to the highest index named. `blocks_max`: what its cache holds.
  void set_capacity(u32 supplier, i64 blocks_max);

  // Per supplier the prompt tokens cached there, never all of them: the last one is computed. A
  // block counts as common if at least half of the suppliers have it. Valid until the next call.
  // REQUIRES: hashes are chained: equal hashes mean equal prefixes.
  CachedPrefix find(std::span<const u64> blocks, i64 prompt_tokens);
  // The supplier got a request with these blocks: it has them now, and used them last.
  void sent(u32 supplier, std::span<const u64> blocks);
  // It lost everything: a restart.
  void forget(u32 supplier);

 private:
  struct Cache {
    i64 blocks_max = kBlocksMaxDefault;
    std::list<u64> by_use;  // the latest first
    std::unordered_map<u64, std::list<u64>::iterator> places;
  };

  void grow(u32 supplier);
  void drop(u32 supplier, u64 block);

  i64 block_tokens_;
  std::size_t words_ = 0;  // of a set
  std::vector<Cache> caches_;
  std::unordered_map<u64, std::vector<u64>> holders_;
  std::vector<u32> tokens_;    // the answer
  std::vector<u64> matching_;  // scratch
};

}  // namespace tg::dispatch
