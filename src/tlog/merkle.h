// The Merkle tree of RFC 6962 §2.1 over hashes that somebody else stores: roots, inclusion and
// consistency proofs and their checks (RFC 9162 §2.1.3-4), as functions of the tree's size alone.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "tlog/suite.h"

namespace tg::tlog {

inline constexpr u64 kTreeSizeMax = u64{1} << 56;  // 7 levels of tiles
inline constexpr std::size_t kProofHashesMax = 64;

// The hash of the complete subtree over leaves [index << height, (index + 1) << height). Called
// only for subtrees that lie whole within the tree's size.
using SubtreeHash = std::function<Result<Hash>(u32 height, u64 index)>;

// The tree's root; the suite's hash of nothing if size is 0.
Result<Hash> tree_root(Hasher& hasher, u64 size, const SubtreeHash& subtree);
// PATH(index, D[size]): from the leaf's sibling upwards. REQUIRES: index < size.
Result<std::vector<Hash>> inclusion_proof(Hasher& hasher, u64 index, u64 size,
                                          const SubtreeHash& subtree);
// PROOF(from, D[to]); empty if from is 0 or equals to. REQUIRES: from <= to.
Result<std::vector<Hash>> consistency_proof(Hasher& hasher, u64 from, u64 to,
                                            const SubtreeHash& subtree);

bool verify_inclusion(Hasher& hasher, const Hash& leaf, u64 index, u64 size,
                      std::span<const Hash> proof, const Hash& root);

struct TreeHead {
  u64 size = 0;
  Hash root{};
  friend bool operator==(const TreeHead&, const TreeHead&) = default;
};
// True if `to` begins with all of `from`. An empty `from` must carry the root of no entries.
bool verify_consistency(Hasher& hasher, const TreeHead& from, const TreeHead& to,
                        std::span<const Hash> proof);

// The root over `hashes`, taken as leaves of a subtree of their own. REQUIRES: not empty.
Hash fold(Hasher& hasher, std::span<const Hash> hashes);

}  // namespace tg::tlog
