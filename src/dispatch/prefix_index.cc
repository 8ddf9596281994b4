#include "dispatch/prefix_index.h"

#include <algorithm>
#include <bit>

namespace tg::dispatch {

// SplitMix64's finisher: every bit of the key moves half of the result's.
static u64 mixed(u64 x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

std::vector<u64> prefix_keys(std::span<const TokenId> prompt, u64 salt) {
  std::vector<u64> keys;
  u64 key = mixed(salt + 0x9e3779b97f4a7c15ull);
  i64 blocks = std::min(static_cast<i64>(prompt.size()) / kPrefixBlockTokens, kPrefixBlocksMax);
  for (i64 block = 0; block < blocks; ++block) {
    for (i64 i = 0; i < kPrefixBlockTokens; ++i) {
      u32 id = static_cast<u32>(prompt[static_cast<std::size_t>(block * kPrefixBlockTokens + i)]);
      key = mixed(key ^ (id + 0x9e3779b97f4a7c15ull));
    }
    keys.push_back(key);
  }
  return keys;
}

CachedPrefix PrefixIndex::find(std::span<const u64> keys, u32 suppliers,
                               std::vector<u32>& tokens) const {
  tokens.assign(suppliers, 0);
  CachedPrefix cached;
  u64 holding = ~u64{0};
  for (std::size_t block = 0; block < keys.size() && holding != 0; ++block) {
    std::unordered_map<u64, Entry>::const_iterator found = entries_.find(keys[block]);
    if (found == entries_.end()) break;
    holding &= found->second.holders;
    u32 end = static_cast<u32>(static_cast<i64>(block + 1) * kPrefixBlockTokens);
    for (u64 rest = holding; rest != 0; rest &= rest - 1) {
      u32 supplier = static_cast<u32>(std::countr_zero(rest));
      if (supplier < suppliers) tokens[supplier] = end;
    }
    bool is_common = 2 * static_cast<u32>(std::popcount(holding)) > suppliers;
    if (is_common) cached.common_tokens = end;
  }
  cached.tokens = tokens;
  return cached;
}

void PrefixIndex::insert(std::span<const u64> keys, u32 supplier) {
  if (supplier >= kPrefixSuppliersMax) return;
  // The end of a prompt ages before its beginning, which more prompts share.
  for (std::size_t i = keys.size(); i-- > 0;) {
    auto [found, is_new] = entries_.try_emplace(keys[i]);
    if (is_new) {
      found->second.age = by_age_.insert(by_age_.end(), keys[i]);
    } else {
      by_age_.splice(by_age_.end(), by_age_, found->second.age);
    }
    found->second.holders |= u64{1} << supplier;
  }
  while (size() > entries_max_) {
    entries_.erase(by_age_.front());
    by_age_.pop_front();
  }
}

void PrefixIndex::forget(u32 supplier) {
  if (supplier >= kPrefixSuppliersMax) return;
  for (auto& [key, entry] : entries_) entry.holders &= ~(u64{1} << supplier);
}

}  // namespace tg::dispatch
