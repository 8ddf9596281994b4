// Asking memory for what a product will read soon.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu::TG_VARIANT {

// What a core fetches ahead by itself reaches as far as it looks ahead in the code, and a block of
// products is long: alone it leaves up to two thirds of the memory's bandwidth unused.
inline constexpr u64 kPrefetchBytes = 8'192;

// Of the block that lies kPrefetchBytes after this one, the s-th of kSubs parts.
template <int kSubs, typename Block>
static inline void prefetch_after(const Block* block, int s) {
  constexpr u64 kPart = sizeof(Block) / kSubs;
  const u8* at = reinterpret_cast<const u8*>(block) + kPrefetchBytes + static_cast<u64>(s) * kPart;
#pragma GCC unroll 64
  for (u64 line = 0; line < kPart; line += 64) __builtin_prefetch(at + line);
}

// One of the passes over the same panels.
struct Pass {
  i64 index, count;
};
inline constexpr Pass kOnlyPass{.index = 0, .count = 1};
inline constexpr Pass kQuietPass{.index = 1 << 20, .count = 1};  // asks for nothing

// This pass's lines of the part of the block `distance` bytes after this one. All passes together
// ask for all lines: memory then works through all of them, not through the first alone.
template <int kSubs, typename Block>
static inline void prefetch_share(const Block* block, int s, Pass pass, i64 distance) {
  constexpr i64 kPart = sizeof(Block) / kSubs;
  const u8* at = reinterpret_cast<const u8*>(block) + distance + s * kPart;
  for (i64 line = 64 * pass.index; line < kPart; line += 64 * pass.count) {
    __builtin_prefetch(at + line);
  }
}

}  // namespace tg::backend::cpu::TG_VARIANT
