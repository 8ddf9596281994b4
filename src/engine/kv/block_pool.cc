#include "engine/kv/block_pool.h"

#include "base/assert.h"

namespace tg::engine {

BlockPool::BlockPool(const PoolOptions& options)
    : block_tokens_(options.block_tokens),
      prefix_cache_(options.prefix_cache),
      index_(options.blocks, options.block_tokens, options.prefix_seed),
      swap_(options.swap_blocks, options.blocks),
      blocks_(static_cast<std::size_t>(options.blocks)) {
  TG_ASSERT(options.blocks > 0 && options.block_tokens > 0);
  free_.reserve(blocks_.size());
  // Handed out from the back: low numbers first.
  for (i64 block = total() - 1; block >= 0; --block) free_.push_back(static_cast<i32>(block));
}

i32 BlockPool::allocate() {
  TG_ASSERT(available() > 0);
  if (free_.empty()) evict_oldest();
  i32 block = free_.back();
  free_.pop_back();
  TG_ASSERT(blocks_[block].references == 0);
  blocks_[block].references = 1;
  ++used_;
  ++references_;
  return block;
}

void BlockPool::acquire(i32 block) {
  if (blocks_[block].references == 0) {
    TG_ASSERT(index_.contains(block));
    delist(block);
    ++used_;
  }
  ++blocks_[block].references;
  ++references_;
}

void BlockPool::release(i32 block) {
  TG_ASSERT(blocks_[block].references > 0);
  --blocks_[block].references;
  --references_;
  if (blocks_[block].references > 0) return;
  --used_;
  if (index_.contains(block)) {
    enlist(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::release_all(std::vector<i32>& table) {
  for (; !table.empty(); table.pop_back()) release(table.back());
}

void BlockPool::match(std::span<const i32> tokens, u64 salt, std::vector<i32>& chain) const {
  chain.clear();
  if (!prefix_cache_) return;
  std::size_t size = static_cast<std::size_t>(block_tokens_);
  i32 parent = kNoBlock;
  for (std::size_t begin = 0; begin + size <= tokens.size(); begin += size) {
    i32 block = index_.find(parent, salt, tokens.subspan(begin, size));
    if (block == kNoBlock) return;
    chain.push_back(block);
    parent = block;
  }
}

i64 BlockPool::count_unshared(std::span<const i32> table) const {
  i64 count = 0;
  for (i32 block : table) count += blocks_[block].references == 1 ? 1 : 0;
  return count;
}

void BlockPool::publish(std::vector<i32>& table, i64 index, u64 salt, std::span<const i32> tokens) {
  TG_ASSERT(prefix_cache_);
  std::size_t at = static_cast<std::size_t>(index);
  TG_ASSERT(at < table.size());
  i32 parent = index == 0 ? kNoBlock : table[at - 1];
  i32 own = table[at];
  TG_ASSERT(blocks_[own].references == 1);
  i32 twin = index_.find(parent, salt, tokens);
  if (twin == kNoBlock) {
    index_.insert(own, parent, salt, tokens);
    return;
  }
  acquire(twin);
  release(own);
  table[at] = twin;
}

void BlockPool::enlist(i32 block) {
  blocks_[block].older = newest_;
  blocks_[block].newer = kNoBlock;
  if (newest_ != kNoBlock) blocks_[newest_].newer = block;
  newest_ = block;
  if (oldest_ == kNoBlock) oldest_ = block;
  ++cached_;
}

void BlockPool::delist(i32 block) {
  i32 older = blocks_[block].older;
  i32 newer = blocks_[block].newer;
  (older == kNoBlock ? oldest_ : blocks_[older].newer) = newer;
  (newer == kNoBlock ? newest_ : blocks_[newer].older) = older;
  --cached_;
}

void BlockPool::evict_oldest() {
  i32 block = oldest_;
  TG_ASSERT(block != kNoBlock);
  delist(block);
  index_.remove(block);
  free_.push_back(block);
}

void BlockPool::check() const {
  TG_ASSERT(static_cast<i64>(free_.size()) + used_ + cached_ == total());
  TG_ASSERT(references_ >= used_);
  swap_.check();
}

void BlockPool::audit() const {
  check();
  i64 used = 0;
  i64 idle_published = 0;
  i64 references = 0;
  for (i64 i = 0; i < total(); ++i) {
    i32 block = static_cast<i32>(i);
    bool published = index_.contains(block);
    references += blocks_[block].references;
    used += blocks_[block].references > 0 ? 1 : 0;
    idle_published += published && blocks_[block].references == 0 ? 1 : 0;
    if (!published || blocks_[block].references == 0) continue;
    i32 parent = index_.parent(block);
    TG_ASSERT(parent == kNoBlock || blocks_[parent].references >= blocks_[block].references);
  }
  TG_ASSERT(used == used_ && references == references_ && idle_published == cached_);
  i64 listed = 0;
  for (i32 block = oldest_; block != kNoBlock; block = blocks_[block].newer) ++listed;
  TG_ASSERT(listed == cached_);
  for (i32 block : free_) TG_ASSERT(blocks_[block].references == 0 && !index_.contains(block));
}

}  // namespace tg::engine
