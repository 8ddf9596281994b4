#include "tlog/merkle.h"

#include <bit>

#include "base/assert.h"

namespace tg::tlog {

namespace {

// The largest power of two below n. REQUIRES: n > 1.
u64 split_point(u64 n) {
  return std::bit_floor(n - 1);
}

// MTH(D[low:high]) where low is a multiple of the power of two not below high - low.
Result<Hash> range_hash(Hasher& hasher, u64 low, u64 high, const SubtreeHash& subtree) {
  TG_ASSERT(low < high);
  u64 count = high - low;
  if (std::has_single_bit(count)) {
    u32 height = static_cast<u32>(std::countr_zero(count));
    return subtree(height, low >> height);
  }
  u64 middle = low + split_point(count);
  TG_ASSIGN(Hash left, range_hash(hasher, low, middle, subtree));
  TG_ASSIGN(Hash right, range_hash(hasher, middle, high, subtree));
  return hasher.node(left, right);
}

}  // namespace

Hash fold(Hasher& hasher, std::span<const Hash> hashes) {
  TG_ASSERT(!hashes.empty());
  if (hashes.size() == 1) return hashes[0];
  std::size_t middle = split_point(hashes.size());
  Hash left = fold(hasher, hashes.first(middle));
  return hasher.node(left, fold(hasher, hashes.subspan(middle)));
}

Result<Hash> tree_root(Hasher& hasher, u64 size, const SubtreeHash& subtree) {
  TG_ASSERT(size <= kTreeSizeMax);
  if (size == 0) return hasher.empty_tree();
  return range_hash(hasher, 0, size, subtree);
}

Result<std::vector<Hash>> inclusion_proof(Hasher& hasher, u64 index, u64 size,
                                          const SubtreeHash& subtree) {
  TG_ASSERT(index < size && size <= kTreeSizeMax);
  std::vector<Hash> proof;
  u64 low = 0;
  u64 high = size;
  // Downwards from the root, keeping the other half of each split.
  while (high - low > 1) {
    u64 middle = low + split_point(high - low);
    bool is_left = index < middle;
    TG_ASSIGN(Hash other, is_left ? range_hash(hasher, middle, high, subtree)
                                  : range_hash(hasher, low, middle, subtree));
    proof.push_back(other);
    (is_left ? high : low) = middle;
  }
  return std::vector<Hash>(proof.rbegin(), proof.rend());
}

Result<std::vector<Hash>> consistency_proof(Hasher& hasher, u64 from, u64 to,
                                            const SubtreeHash& subtree) {
  TG_ASSERT(from <= to && to <= kTreeSizeMax);
  if (from == 0 || from == to) return std::vector<Hash>{};
  std::vector<Hash> proof;
  u64 low = 0;
  u64 high = to;
  // Down to the subtree whose right edge is the old tree's.
  while (from != high) {
    u64 middle = low + split_point(high - low);
    bool is_left = from <= middle;
    TG_ASSIGN(Hash other, is_left ? range_hash(hasher, middle, high, subtree)
                                  : range_hash(hasher, low, middle, subtree));
    proof.push_back(other);
    (is_left ? high : low) = middle;
  }
  // The old root itself is known to whoever asks.
  if (low > 0) {
    TG_ASSIGN(Hash own, range_hash(hasher, low, high, subtree));
    proof.push_back(own);
  }
  return std::vector<Hash>(proof.rbegin(), proof.rend());
}

bool verify_inclusion(Hasher& hasher, const Hash& leaf, u64 index, u64 size,
                      std::span<const Hash> proof, const Hash& root) {
  if (index >= size || size > kTreeSizeMax) return false;
  u64 at = index;
  u64 last = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = hasher.node(sibling, hash);
      // A subtree without a right sibling rises until it is one.
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = hasher.node(hash, sibling);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(Hasher& hasher, const TreeHead& from, const TreeHead& to,
                        std::span<const Hash> proof) {
  if (from.size > to.size || to.size > kTreeSizeMax) return false;
  if (from.size == to.size) return proof.empty() && from.root == to.root;
  if (from.size == 0) return proof.empty() && from.root == hasher.empty_tree();
  // A whole old tree is a node of the new one; its root then begins the proof unsaid.
  bool is_node = std::has_single_bit(from.size);
  if (!is_node && proof.empty()) return false;
  u64 at = from.size - 1;
  u64 last = to.size - 1;
  while ((at & 1) != 0) {
    at >>= 1;
    last >>= 1;
  }
  Hash old_hash = is_node ? from.root : proof[0];
  Hash new_hash = old_hash;
  for (const Hash& hash : is_node ? proof : proof.subspan(1)) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      old_hash = hasher.node(hash, old_hash);
      new_hash = hasher.node(hash, new_hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      new_hash = hasher.node(new_hash, hash);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == from.root && new_hash == to.root;
}

}  // namespace tg::tlog
