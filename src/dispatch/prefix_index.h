// Which supplier has probably cached which prompts, learned from where requests were sent: chained
// hashes of blocks of tokens, as engines' own prefix caches are keyed. A guess: engines forget on
// their own, so entries age; a supplier that dies or says so is forgotten at once.
#pragma once

#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "dispatch/choose.h"
#include "text/vocab.h"

namespace tg::dispatch {

inline constexpr i64 kPrefixBlockTokens = 32;
inline constexpr i64 kPrefixBlocksMax = 512;  // of one prompt
inline constexpr u32 kPrefixSuppliersMax = 64;

// Keys of a prompt's whole blocks, each standing for everything up to its end.
std::vector<u64> prefix_keys(std::span<const TokenId> prompt, u64 salt);

class PrefixIndex {
 public:
  explicit PrefixIndex(i64 entries_max) : entries_max_(entries_max) {}

  // Tokens by supplier, written to `tokens` (resized to `suppliers`), and those that most of the
  // suppliers hold. The result borrows `tokens`.
  CachedPrefix find(std::span<const u64> keys, u32 suppliers, std::vector<u32>& tokens) const;
  // The supplier was sent this prompt. Suppliers past kPrefixSuppliersMax are not kept.
  void insert(std::span<const u64> keys, u32 supplier);
  void forget(u32 supplier);
  i64 size() const { return static_cast<i64>(entries_.size()); }

 private:
  struct Entry {
    u64 holders = 0;  // bit per supplier
    std::list<u64>::iterator age;
  };

  i64 entries_max_;
  std::unordered_map<u64, Entry> entries_;
  std::list<u64> by_age_;  // least recently used first
};

}  // namespace tg::dispatch
