#include "engine/kv/prefix_index.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace tg::engine {

namespace {

// A block is at most a few milliseconds' work: more brothers than these are not worth looking at.
constexpr int kBrothersMax = 32;

// The finaliser of SplitMix64: every input bit reaches every output bit.
u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

PrefixIndex::PrefixIndex(i64 blocks, i64 block_tokens, u64 seed)
    : block_tokens_(block_tokens),
      seed_(seed),
      nodes_(static_cast<std::size_t>(blocks)),
      tokens_(static_cast<std::size_t>(blocks * block_tokens)),
      buckets_(std::bit_ceil(static_cast<std::size_t>(blocks)), kNoBlock) {}

std::span<const i32> PrefixIndex::tokens_of(i32 block) const {
  return std::span<const i32>(tokens_).subspan(static_cast<std::size_t>(block * block_tokens_),
                                               static_cast<std::size_t>(block_tokens_));
}

u64 PrefixIndex::chained_hash(i32 parent, u64 salt, std::span<const i32> tokens) const {
  u64 hash = parent == kNoBlock ? mix(seed_ ^ mix(salt)) : nodes_[parent].hash;
  for (i32 token : tokens) hash = mix(hash + 0x9E3779B97F4A7C15u + static_cast<u32>(token));
  return hash;
}

i32 PrefixIndex::find(i32 parent, u64 salt, std::span<const i32> tokens) const {
  TG_ASSERT(parent == kNoBlock || nodes_[parent].indexed);
  TG_ASSERT(static_cast<i64>(tokens.size()) == block_tokens_);
  u64 hash = chained_hash(parent, salt, tokens);
  i32 block = buckets_[hash & (buckets_.size() - 1)];
  for (; block != kNoBlock; block = nodes_[block].bucket_next) {
    const Node& node = nodes_[block];
    if (node.hash != hash || node.parent != parent || node.salt != salt) continue;
    if (std::ranges::equal(tokens_of(block), tokens)) return block;
  }
  return kNoBlock;
}

PartOfBlock PrefixIndex::find_part(i32 parent, u64 salt, std::span<const i32> tokens) const {
  TG_ASSERT(parent == kNoBlock || nodes_[parent].indexed);
  TG_ASSERT(static_cast<i64>(tokens.size()) <= block_tokens_);
  PartOfBlock best;
  i32 block = first_child(parent);
  for (int seen = 0; block != kNoBlock && seen < kBrothersMax; ++seen) {
    if (nodes_[block].salt == salt) {
      i64 same = std::ranges::mismatch(tokens, tokens_of(block)).in1 - tokens.begin();
      if (same > best.tokens) best = {block, same};
    }
    block = nodes_[block].older;
  }
  return best;
}

void PrefixIndex::insert(i32 block, i32 parent, u64 salt, std::span<const i32> tokens) {
  Node& node = nodes_[block];
  TG_ASSERT(!node.indexed && block != parent);
  TG_ASSERT(static_cast<i64>(tokens.size()) == block_tokens_);
  u64 hash = chained_hash(parent, salt, tokens);
  node = Node{.hash = hash,
              .salt = salt,
              .parent = parent,
              .bucket_next = bucket(hash),
              .first_child = kNoBlock,
              .older = kNoBlock,
              .newer = kNoBlock,
              .indexed = true};
  bucket(hash) = block;
  std::ranges::copy(tokens, tokens_.begin() + block * block_tokens_);
  join_brothers(block);
}

void PrefixIndex::join_brothers(i32 block) {
  i32& first = first_child(nodes_[block].parent);
  nodes_[block].older = first;
  if (first != kNoBlock) nodes_[first].newer = block;
  first = block;
}

void PrefixIndex::leave_brothers(i32 block) {
  const Node& node = nodes_[block];
  (node.newer == kNoBlock ? first_child(node.parent) : nodes_[node.newer].older) = node.older;
  if (node.older != kNoBlock) nodes_[node.older].newer = node.newer;
}

void PrefixIndex::remove(i32 block) {
  Node& node = nodes_[block];
  TG_ASSERT(node.indexed);
  TG_ASSERT(node.first_child == kNoBlock);
  i32* link = &bucket(node.hash);
  while (*link != block) link = &nodes_[*link].bucket_next;
  *link = node.bucket_next;
  leave_brothers(block);
  node = Node{};
}

}  // namespace tg::engine
