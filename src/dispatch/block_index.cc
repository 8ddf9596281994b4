#include "dispatch/block_index.h"

#include <algorithm>
#include <bit>

#include "dispatch/policy/scene.h"

namespace tg::dispatch {

namespace {

constexpr u32 kWordBits = 64;

// Calls visit(supplier) for every bit of `bits` in word `w`.
template <typename Visit>
void for_each_bit(u64 bits, std::size_t w, Visit visit) {
  for (; bits != 0; bits &= bits - 1) {
    visit(static_cast<u32>(w * kWordBits) + static_cast<u32>(std::countr_zero(bits)));
  }
}

}  // namespace

std::vector<u64> block_hashes(std::span<const TokenId> prompt, u64 salt, i64 block_tokens,
                              i64 blocks_max) {
  std::vector<u64> hashes;
  u64 hash = mix(salt);
  i64 blocks = std::min(static_cast<i64>(prompt.size()) / block_tokens, blocks_max);
  for (i64 i = 0; i < blocks * block_tokens; ++i) {
    hash = mix(hash ^ static_cast<u32>(prompt[static_cast<std::size_t>(i)]));
    if ((i + 1) % block_tokens == 0) hashes.push_back(hash);
  }
  return hashes;
}

void BlockIndex::grow(u32 supplier) {
  if (supplier < caches_.size()) return;
  caches_.resize(supplier + 1);
  words_ = (caches_.size() + kWordBits - 1) / kWordBits;
}

void BlockIndex::set_capacity(u32 supplier, i64 blocks_max) {
  grow(supplier);
  Cache& cache = caches_[supplier];
  cache.blocks_max = std::max<i64>(1, blocks_max);
  while (static_cast<i64>(cache.by_use.size()) > cache.blocks_max) {
    drop(supplier, cache.by_use.back());
  }
}

CachedPrefix BlockIndex::find(std::span<const u64> blocks, i64 prompt_tokens) {
  tokens_.assign(caches_.size(), 0);
  matching_.assign(words_, ~u64{0});
  i64 common = 0;
  i64 end = std::max<i64>(0, prompt_tokens - 1);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    auto found = holders_.find(blocks[b]);
    if (found == holders_.end()) break;
    i64 tokens = std::min(end, static_cast<i64>(b + 1) * block_tokens_);
    std::size_t holding = 0;
    for (std::size_t w = 0; w < words_; ++w) {
      u64 word = w < found->second.size() ? found->second[w] : 0;
      matching_[w] &= word;
      holding += static_cast<std::size_t>(std::popcount(matching_[w]));
      for_each_bit(matching_[w], w, [&](u32 s) { tokens_[s] = static_cast<u32>(tokens); });
    }
    if (holding == 0) break;
    if (2 * holding >= caches_.size()) common = tokens;
  }
  return {tokens_, common};
}

void BlockIndex::sent(u32 supplier, std::span<const u64> blocks) {
  grow(supplier);
  Cache& cache = caches_[supplier];
  // The front of a prompt is used by more requests than its end, so it is the last to go.
  for (std::size_t b = blocks.size(); b-- > 0;) {
    auto [place, is_new] = cache.places.try_emplace(blocks[b]);
    if (!is_new) {
      cache.by_use.splice(cache.by_use.begin(), cache.by_use, place->second);
      continue;
    }
    cache.by_use.push_front(blocks[b]);
    place->second = cache.by_use.begin();
    std::vector<u64>& set = holders_[blocks[b]];
    if (set.size() < words_) set.resize(words_);
    set[supplier / kWordBits] |= u64{1} << (supplier % kWordBits);
  }
  while (static_cast<i64>(cache.by_use.size()) > cache.blocks_max) {
    drop(supplier, cache.by_use.back());
  }
}

void BlockIndex::drop(u32 supplier, u64 block) {
  Cache& cache = caches_[supplier];
  auto place = cache.places.find(block);
  cache.by_use.erase(place->second);
  cache.places.erase(place);
  auto found = holders_.find(block);
  found->second[supplier / kWordBits] &= ~(u64{1} << (supplier % kWordBits));
  bool is_empty =
      std::all_of(found->second.begin(), found->second.end(), [](u64 word) { return word == 0; });
  if (is_empty) holders_.erase(found);
}

void BlockIndex::forget(u32 supplier) {
  if (supplier >= caches_.size()) return;
  Cache& cache = caches_[supplier];
  while (!cache.by_use.empty()) drop(supplier, cache.by_use.back());
}

}  // namespace tg::dispatch
